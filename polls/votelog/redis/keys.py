"""The names of the log's keys in Redis.

All keys of a partition have the same hash tag, so that Redis Cluster can distribute partitions:

    <prefix>:{n}:log     stream; an entry holds the ballots of a poll that were appended together, as columns
                         (polls/votelog/columns.py). Its ID is "<position of the last ballot>-0"
    <prefix>:{n}:head    hash: generation, position, trimmed, format, at
    <prefix>:{n}:gates   hash: poll_id -> Gate.pack()
    <prefix>:{n}:claims:<poll_id>      hash: count, buckets
    <prefix>:{n}:claims:<poll_id>:<k>  hash: last 8 bytes of a voter_key -> pack_claim()

    <prefix>:{limits}:<kind>:<window>  hash: key of a rate limit -> casts in this window
    <prefix>:{limits}:salt
"""


class Keys:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def partition(self, partition: int) -> list[str]:
        tag = f"{self._prefix}:{{{partition}}}"
        return [f"{tag}:log", f"{tag}:head", f"{tag}:gates"]

    def claims(self, partition: int, poll_id: int) -> str:
        return f"{self._prefix}:{{{partition}}}:claims:{poll_id}"

    def limits(self, name: str) -> str:
        return f"{self._prefix}:{{limits}}:{name}"
