"""Cookie mode: the refresh token in an `HttpOnly` cookie, which scripts of the page cannot read."""
