"""A session of the docker CLI that touches every operation, checked against the API description.

The checking proxy and the description lie beside the checkout (../shared/conformance); without
them there is nothing to check against.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import Daemon

PROXY = Path(__file__).parents[3] / "shared" / "conformance" / "api_conformance.py"

pytestmark = pytest.mark.skipif(not PROXY.exists(), reason="no API description here")

SESSION = r"""
set -e
docker version; docker info; docker system df; docker system df -v
docker images; docker history busybox; docker inspect busybox
docker tag busybox other:1; docker rmi other:1
docker save busybox -o "$T/bb.tar"; docker load -q -i "$T/bb.tar"; docker load -i "$T/bb.tar"
docker create --name made busybox sh -c 'echo made; sleep 100'
docker ps -a; docker ps -as; docker inspect made; docker inspect -s made
docker start made; docker ps --filter name=made --filter status=running
docker logs made; docker logs -t --tail 1 made; docker top made; docker port made
docker stats --no-stream made; docker exec made true; docker exec -d made sleep 1
docker exec made sh -c 'exit 3' || test $? = 3
docker exec made sh -c 'echo x > /new; rm /etc/group'
docker diff made; docker cp made:/new "$T/new"; docker cp "$T/new" made:/copied
docker cp made:/etc - > "$T/etc.tar"
docker export made -o "$T/made.tar"; docker import "$T/made.tar" imported:1
docker commit -m msg -c 'ENV A=1' made committed:1; docker history committed:1
docker update --memory 64m --memory-swap 64m --restart on-failure:2 made
docker pause made; docker unpause made; docker rename made renamed
docker restart -t 0 renamed
docker kill -s KILL renamed; docker start renamed
docker stop -t 0 renamed; docker wait renamed; docker rm -v renamed
docker run --rm busybox echo hello; docker run -d --name web -p 127.0.0.1:18099:80 \
    --health-cmd true --health-interval 100ms -v vol:/data --tmpfs /t -e A=b -l k=v \
    busybox sleep 100
docker ps; docker inspect web; sleep 0.5; docker inspect web; docker port web
echo x | docker run -i --rm busybox cat
docker volume ls; docker volume inspect vol; docker volume create another; docker volume rm another
docker network ls; docker network inspect bridge
docker network create --subnet 10.214.254.0/24 mynet
docker network connect --alias z mynet web; docker inspect web; docker network inspect mynet
docker network disconnect mynet web; docker network rm mynet
docker rm -f web; docker container prune -f; docker volume prune -af; docker network prune -f
docker image prune -f; docker rmi imported:1 committed:1; docker system prune -f
docker events --since 10m --until 1s > /dev/null
docker inspect nosuch || true; docker start nosuch || true; docker rmi nosuch || true
docker run nosuch/image:x || true; docker network rm nosuch || true
 docker volume rm nosuch || true
docker plugin ls; docker swarm init || true; docker service ls || true
docker search x || true
"""


def test_a_session_of_the_docker_cli(daemon: Daemon, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    argv = [
        sys.executable, str(PROXY), "proxy", "--strict", "--upstream", daemon.host,
        "--report", str(report), "--", "bash", "-c", SESSION,
    ]  # fmt: skip
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "T": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert " 0 violations" in done.stdout + done.stderr


def test_the_probe(daemon: Daemon, tmp_path: Path) -> None:
    argv = [sys.executable, str(PROXY), "probe", "--host", daemon.host]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=170, check=False)
    assert " 0 violations" in done.stdout + done.stderr, done.stdout[-6000:] + done.stderr[-3000:]
