"""The names of the log's keys in Redis.

All keys of a partition carry its hash tag, so that Redis Cluster can spread partitions:

    <prefix>:{n}:log     the stream; an entry holds the ballots of a poll that came together, in
                         columns, and its ID is "<position of the last>-0", our own counter
    <prefix>:{n}:head    hash: generation, position, trimmed, format
    <prefix>:{n}:gates   hash: poll_id -> Gate.pack()
    <prefix>:{n}:claims:<poll_id>      hash: count, buckets
    <prefix>:{n}:claims:<poll_id>:<k>  hash: the end of a voter_key -> pack_claim()
"""

from __future__ import annotations


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
