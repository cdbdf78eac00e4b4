"""The page at `/`, and the events that it shows; those in DEBUG alone, for they are everybody's."""

from django.conf import settings
from django.urls import path

from playground.views import events, page

urlpatterns = [path("", page)]
if settings.DEBUG:
    urlpatterns.append(path("events", events))
