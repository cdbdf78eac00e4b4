"""The page at `/` and its events. The events are those of all users, so they are served only in DEBUG."""

from django.conf import settings
from django.urls import path

from playground.views import events, page, provider_done

urlpatterns = [path("", page), path("provider-done", provider_done)]
if settings.DEBUG:
    urlpatterns.append(path("events", events))
