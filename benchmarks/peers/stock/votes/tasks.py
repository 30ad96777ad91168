from asgiref.sync import async_to_sync
from celery import shared_task
from channels.layers import get_channel_layer
from django.db.models import Count

from votes.models import Vote


def tally(poll_id):
    rows = Vote.objects.filter(poll_id=poll_id).values("choice_id").annotate(votes=Count("id"))
    return {str(row["choice_id"]): row["votes"] for row in rows.order_by("choice_id")}


@shared_task
def recount(poll_id):
    message = {"type": "poll.tally", "poll": poll_id, "votes": tally(poll_id)}
    async_to_sync(get_channel_layer().group_send)(f"poll_{poll_id}", message)
