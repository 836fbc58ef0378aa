"""A certificate authority for tests: a server's certificate, two clients' and another authority's."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.missing import missing


@dataclass(frozen=True)
class Pki:
    """Where the files are; each certificate NAME.pem has its NAME.key."""

    folder: Path

    def tls_config(self, **keys: str) -> str:
        """A `tls_server_config` with the server's certificate and further keys."""
        lines = {"cert_file": self.folder / "server.pem", "key_file": self.folder / "server.key", **keys}
        return "tls_server_config:\n" + "".join(f"  {name}: {value}\n" for name, value in lines.items())

    def trust(self, client: str | None = None) -> ssl.SSLContext:
        """The context of a client that trusts the authority, and has a certificate where it names one."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if client:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return context


def make(folder: Path) -> Pki:
    """All of them, by the openssl command."""
    if not shutil.which("openssl"):
        missing("there is no openssl command to make certificates with")
    for authority in ("ca", "stranger_ca"):
        openssl(folder, "req", "-x509", *NEW_KEY, "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
                "-days", "2", "-subj", f"/CN={authority}",
                # Python 3.13 verifies strictly: an authority has to say what its key is for.
                "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    issue(folder, "server", "DNS:localhost,IP:127.0.0.1")
    issue(folder, "renewed", "DNS:localhost,IP:127.0.0.1")
    issue(folder, "prometheus", "DNS:prometheus.example,email:ops@example.org,IP:10.0.0.1")
    issue(folder, "other", "DNS:other.example")
    issue(folder, "stranger", "DNS:prometheus.example", "stranger_ca")
    return Pki(folder)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def issue(folder: Path, name: str, sans: str, authority: str = "ca") -> None:
    """A key and a certificate for these names."""
    openssl(folder, "req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(f"subjectAltName={sans}\n")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")  # fmt: skip


def openssl(folder: Path, *args: str) -> None:
    """Run the command in the folder."""
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=60)
