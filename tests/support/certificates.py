"""Certificates for tests, by the openssl program: an authority and what it signs."""

import os
import subprocess


def run(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A certificate authority in a folder. Paths of PEM files: `ca`, and what issue() returns."""

    def __init__(self, folder, name):
        self.folder = folder
        self.ca = os.path.join(folder, name + "-ca.pem")
        self.key = os.path.join(folder, name + "-ca.key")
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", self.key, "-out", self.ca, "-days", "2", "-subj", "/CN=" + name)

    def issue(self, name, expired=False):
        """(certificate, key) for 127.0.0.1."""
        base = os.path.join(self.folder, name)
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", base + ".key", "-out", base + ".csr", "-subj", "/CN=" + name)
        with open(base + ".ext", "w", encoding="utf-8") as file:
            file.write("subjectAltName = IP:127.0.0.1, DNS:localhost\n")
        if not expired:
            run("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.key,
                "-CAcreateserial", "-days", "1", "-extfile", base + ".ext", "-out", base + ".pem")
            return base + ".pem", base + ".key"
        # x509 knows no dates of the past; ca does.
        database = base + ".index"
        for path, text in ((database, ""), (base + ".serial", "01\n"), (base + ".cnf", (
                "[ca]\ndefault_ca=x\n[x]\n"
                f"database={database}\nserial={base}.serial\nnew_certs_dir={self.folder}\n"
                "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n"))):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        run("ca", "-batch", "-config", base + ".cnf", "-cert", self.ca, "-keyfile", self.key,
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
            "-extfile", base + ".ext", "-in", base + ".csr", "-out", base + ".pem", "-notext")
        return base + ".pem", base + ".key"
