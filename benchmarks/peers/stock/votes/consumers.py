from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from votes.tasks import tally


class PollConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.poll_id = self.scope["url_route"]["kwargs"]["poll_id"]
        self.group = f"poll_{self.poll_id}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        votes = await database_sync_to_async(tally)(self.poll_id)
        await self.send_json({"poll": self.poll_id, "votes": votes})

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def poll_tally(self, event):
        await self.send_json({"poll": event["poll"], "votes": event["votes"]})
