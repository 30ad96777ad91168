from django.db import models


class Poll(models.Model):
    question = models.CharField(max_length=300)


class Choice(models.Model):
    poll = models.ForeignKey(Poll, on_delete=models.CASCADE, related_name="choices")
    label = models.CharField(max_length=200)


class Vote(models.Model):
    poll = models.ForeignKey(Poll, on_delete=models.CASCADE, related_name="votes", db_index=False)
    choice = models.ForeignKey(Choice, on_delete=models.CASCADE, related_name="votes", db_index=False)
    voter = models.CharField(max_length=36)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["poll", "voter"], name="one_vote_per_voter")]
        indexes = [models.Index(fields=["poll", "choice"])]
