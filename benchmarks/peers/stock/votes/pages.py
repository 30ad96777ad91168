from django.shortcuts import get_object_or_404, render
from django.views.decorators.gzip import gzip_page

from votes.models import Poll


@gzip_page
def poll_page(request, pk):
    poll = get_object_or_404(Poll.objects.prefetch_related("choices"), pk=pk)
    return render(request, "page.html", {"poll": poll})
