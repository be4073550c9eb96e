"""Real applications, built from Debian on what the machine's registries offer, and spoken to.

Where registries are and which certificates they have is the machine's business: it is asked of
the machine's own clients here and passed along, and what cannot be reached is skipped.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_S = 600.0
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
APT = "apt-get install -y --no-install-recommends"


class Shop:
    """A daemon that has Debian; builds there may use the machine's registries."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self.daemon = daemon
        self.directory = directory

    def build(self, name: str, files: Mapping[str, str], *flags: str) -> str:
        """Build `files` as an image of that name; what was said."""
        context = self.directory / name
        for path, text in files.items():
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            (context / path).write_text(text)
        words = ["--secret", f"id=certificates,src={CERTIFICATES}"] * CERTIFICATES.exists()
        for argument, value in registries().items():
            words += ["--build-arg", f"{argument}={value}"]
        argv = [sys.executable, "-m", "pier", "build", "--explain", "-t", name, *words, *flags]
        done = self.daemon.run([*argv, str(context)], timeout_s=PATIENCE_S)
        output = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, output[-4000:]
        return output

    def ask(self, name: str, port: int, *paths: str) -> list[str]:
        """Run the image, ask its web server, remove the container."""
        docker = self.daemon.docker
        docker("run", "-d", "--name", name, "-p", f"127.0.0.1::{port}", name)
        try:
            address = docker("port", name, str(port)).split()[0]
            return [answer(f"http://{address}{path}") for path in paths]
        except OSError as error:
            raise AssertionError(docker("logs", name)) from error
        finally:
            docker("rm", "-f", name)


def reasons(output: str) -> list[str]:
    """Why steps ran again, each reason once, in order."""
    told = [line.partition(": ")[2] for line in output.splitlines() if "Not cached: " in line]
    return list(dict.fromkeys(told))


def registries() -> dict[str, str]:
    """Other addresses than the clients' own, if the machine has them."""
    found = {"PIP_INDEX_URL": os.environ.get("PIP_INDEX_URL", "")}
    if shutil.which("npm"):
        told = subprocess.run(
            ["npm", "config", "get", "registry"], capture_output=True, text=True, check=False
        )
        found["NPM_CONFIG_REGISTRY"] = told.stdout.strip()
    return {name: value for name, value in found.items() if value}


def answer(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 30
    while True:
        try:
            with opener.open(url, timeout=5) as response:
                text: str = response.read().decode()
                return text
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Daemon(tmp_path_factory.mktemp("apps")) as daemon:
        if daemon.run(["docker", "pull", "debian"], timeout_s=PATIENCE_S).returncode:
            pytest.skip("no Debian can be had here")
        reached = "FROM debian\nRUN apt-get update 2>&1 && ! apt-get update 2>&1 | grep -q ^Err\n"
        if daemon.run(["docker", "build", "-"], stdin=reached.encode(), timeout_s=200).returncode:
            pytest.skip("Debian's packages cannot be reached from a container")
        yield Shop(daemon, tmp_path_factory.mktemp("contexts"))


def needs(*argv: str) -> None:
    """Skip unless the machine's own client gets an answer of its registry."""
    if not shutil.which(argv[0]):
        pytest.skip(f"needs {argv[0]}")
    if subprocess.run(argv, capture_output=True, timeout=120, check=False).returncode:
        pytest.skip(f"the registry of {argv[0]} cannot be reached")


SERVER_C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(8080)};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&place, sizeof place) || listen(server, 8)) return 1;
    for (;;) {
        char asked[4096];
        const char *said = "HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n" GREETING;
        int client = accept(server, 0, 0);
        if (read(client, asked, sizeof asked) > 0) write(client, said, strlen(said));
        close(client);
    }
}
"""


def test_a_c_program_compiled_into_a_scratch_image(shop: Shop) -> None:
    files = {
        "Dockerfile": (
            f"FROM debian AS build\nRUN apt-get update && {APT} gcc libc6-dev\n"
            "WORKDIR /src\nCOPY server.c .\nARG GREETING='\"hello from C\"'\n"
            'RUN gcc -O2 -static -Wall -Werror -Wno-unused-result "-DGREETING=$GREETING"'
            " -o server server.c\n"
            "FROM scratch\nCOPY --from=build /src/server /server\n"
            'EXPOSE 8080\nUSER 65534\nENTRYPOINT ["/server"]\n'
        ),
        "server.c": SERVER_C,
    }
    shop.build("cserver", files)
    assert shop.ask("cserver", 8080, "/") == ["hello from C"]
    size = shop.daemon.docker("image", "inspect", "-f", "{{.Size}}", "cserver")
    assert int(size) < 3_000_000
    again = shop.build("cserver", {**files, "server.c": SERVER_C + "/* changed */\n"})
    assert reasons(again) == ["file server.c changed", "parent changed"]
    assert "apt-get" not in again.partition("Not cached")[2]


NGINX = """
worker_processes 1;
events { worker_connections 64; }
http {
    access_log /dev/stdout;
    error_log /dev/stderr;
    server {
        listen 8080;
        location = /told { default_type text/plain; return 200 "told by the config"; }
        location / { root /srv; }
    }
}
"""


def test_nginx_with_a_config_of_its_own(shop: Shop) -> None:
    files = {
        "Dockerfile": (
            f"FROM debian\nRUN apt-get update && {APT} nginx-light && rm -rf /var/lib/apt/lists/*\n"
            "COPY nginx.conf /etc/nginx/nginx.conf\nCOPY --chown=www-data www/ /srv/\n"
            "RUN nginx -t\nEXPOSE 8080\nSTOPSIGNAL SIGQUIT\n"
            'CMD ["nginx", "-g", "daemon off;"]\n'
        ),
        "nginx.conf": NGINX,
        "www/index.html": "<h1>served</h1>",
        "www/.hidden": "not sent",
        ".dockerignore": "**/.hidden\n",
    }
    shop.build("web", files)
    assert shop.ask("web", 8080, "/told", "/") == ["told by the config", "<h1>served</h1>"]
    listing = shop.daemon.docker("run", "--rm", "web", "ls", "-lA", "/srv")
    assert "www-data" in listing
    assert ".hidden" not in listing


# Not every index lets pip keep what it sends, so the wheels are kept by hand.
PIP = "pip install --no-index --find-links /wheels -r requirements.txt"
APP_PY = """
from flask import Flask
import waitress

app = Flask(__name__)

@app.get("/")
def root():
    return "hello from Python"

waitress.serve(app, host="0.0.0.0", port=8000)
"""


def test_a_python_service_with_requirements_and_a_cache_mount(shop: Shop, tmp_path: Path) -> None:
    needs("pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "itsdangerous==2.2.0")
    files = {
        "Dockerfile": (
            f"FROM debian AS base\nRUN apt-get update && {APT} python3 python3-venv\n"
            'FROM base AS dependencies\nRUN python3 -m venv /venv\nENV PATH="/venv/bin:$PATH"\n'
            "ARG PIP_INDEX_URL\nCOPY requirements.txt .\n"
            "RUN --mount=type=cache,target=/wheels"
            " --mount=type=secret,id=certificates,target=/ca.crt"
            f" {PIP} || {{ pip download --cert /ca.crt -d /wheels -r requirements.txt"
            f" && {PIP}; }}\n"
            "FROM base\nRUN useradd --system app\nCOPY --from=dependencies /venv /venv\n"
            "WORKDIR /app\nCOPY --chown=app . .\nUSER app\nEXPOSE 8000\n"
            "HEALTHCHECK --interval=1s CMD /venv/bin/python -c "
            "\"import urllib.request as u; u.urlopen('http://127.0.0.1:8000')\"\n"
            'CMD ["/venv/bin/python", "app.py"]\n'
        ),
        "requirements.txt": "flask==3.1.*\nwaitress==3.*\n",
        "app.py": APP_PY,
        ".dockerignore": "Dockerfile\n.dockerignore\n",
    }
    shop.build("service", files)
    assert shop.ask("service", 8000, "/") == ["hello from Python"]
    again = shop.build("service", {**files, "app.py": APP_PY.replace("Python", "Python 2")})
    assert reasons(again) == ["file app.py changed", "parent changed"]
    assert shop.ask("service", 8000, "/") == ["hello from Python 2"]
    alike = {**files, "requirements.txt": files["requirements.txt"] + "# the same\n"}
    alone = shop.build("service", alike, "--network", "none")
    assert reasons(alone)[0] == "file requirements.txt changed"
    assert "Successfully installed" in alone


MAIN_JS = """
import { h, render } from "preact";
render(h("p", null, "hello from Node"), document.body);
"""


def test_a_front_end_built_in_one_stage_and_served_from_another(shop: Shop) -> None:
    needs("npm", "view", "preact", "version")
    files = {
        "Dockerfile": (
            f"FROM debian AS node\nRUN apt-get update && {APT} nodejs npm\n"
            "FROM node AS build\nWORKDIR /src\nARG NPM_CONFIG_REGISTRY\nCOPY package.json .\n"
            "RUN --mount=type=cache,target=/root/.npm"
            " --mount=type=secret,id=certificates,target=/ca.crt"
            " NPM_CONFIG_CAFILE=/ca.crt npm install --no-audit --no-fund\n"
            "COPY src src\nRUN npx esbuild src/main.js --bundle --minify --outfile=dist/main.js"
            " && cp src/index.html dist/\n"
            f"FROM debian\nRUN apt-get update && {APT} nginx-light && rm -rf /var/lib/apt/lists/*\n"
            "COPY nginx.conf /etc/nginx/nginx.conf\nCOPY --from=build /src/dist /srv\n"
            'CMD ["nginx", "-g", "daemon off;"]\n'
        ),
        "package.json": (
            '{"private": true, "dependencies": {"preact": "^10"},'
            ' "devDependencies": {"esbuild": "^0.25"}}'
        ),
        "src/main.js": MAIN_JS,
        "src/index.html": '<script src="main.js"></script>',
        "nginx.conf": NGINX,
    }
    shop.build("front", files)
    page, script = shop.ask("front", 8080, "/", "/main.js")
    assert page == files["src/index.html"]
    assert "hello from Node" in script
    assert "import" not in script
    assert "node_modules" not in shop.daemon.docker("run", "--rm", "front", "ls", "/", "/srv")
