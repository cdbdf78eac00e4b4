"""Tickets that were used, until they would have expired."""

from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.tokens import DIGEST_PATTERN, Ticket

_SPEND = "INSERT INTO {table} (digest, expires_at) VALUES (%s, %s) ON CONFLICT DO NOTHING"


class SpentTicketManager(PrimaryManager["SpentTicket"]):
    """Spend tickets."""

    def spend(self, ticket: Ticket) -> bool:
        """Use a ticket up in the open transaction, and return whether it was not used before.

        If several callers spend the same ticket, the others wait for the transaction of the first.
        """
        connection = connections[accounts_database()]
        table = connection.ops.quote_name(self.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(_SPEND.format(table=table), [ticket.digest, ticket.expires_at])
            return bool(cursor.rowcount == 1)


class SpentTicket(models.Model):
    """The keyed digest of a ticket that was used, see `tokens.tickets`, or of anything else that counts once."""

    digest = models.CharField(max_length=100, primary_key=True)
    expires_at = models.DateTimeField(_("expires at"))

    objects = SpentTicketManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("spent ticket")
        verbose_name_plural = _("spent tickets")
        indexes = [models.Index(fields=["expires_at"], name="authkit_ticket_by_expiry")]
        constraints = [
            models.CheckConstraint(condition=models.Q(digest__regex=DIGEST_PATTERN), name="authkit_ticket_digest")
        ]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
