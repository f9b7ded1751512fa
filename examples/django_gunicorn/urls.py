"""What the shop has where."""

from __future__ import annotations

from django.contrib.auth.views import LoginView
from django.urls import path

from django_gunicorn import views

urlpatterns = [
    path("login", LoginView.as_view()),
    path("account", views.account),
    path("order/<article>", views.order),
    path("recommend/<article>", views.recommend),
]
