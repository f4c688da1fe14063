"""TLS of the hub's own: a certificate that can be replaced while the hub runs."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class NoCertificate(Exception):
    """The files do not make a certificate. The text is one line that names them."""


class Tls:
    """`cert` is a chain in PEM, the hub's own certificate first; `key` its private key."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self.context = self._loaded()

    def reload(self) -> None:
        """Take what the files hold now, for connections from now on; what is wrong changes nothing.

        A context that had half of a new pair would have none: they are tried on another first.
        """
        try:
            self._loaded()
            self._load(self.context)
        except NoCertificate as error:
            log.error("the certificate stays as it was: %s", error)
            return
        log.info("the certificate was read again from %s", self._cert)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        """Raises NoCertificate. Without a password OpenSSL would ask for one on the terminal."""
        try:
            context.load_cert_chain(self._cert, self._key, password="")  # nosec B106
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).lower().replace("_", " ")
            raise NoCertificate(f"{self._cert} and {self._key}: {reason}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NoCertificate(f"{self._cert} and {self._key}: {reason}") from error
