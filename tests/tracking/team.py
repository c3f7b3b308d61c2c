"""A team's services, as docs/team.md starts them: MLflow with accounts, on PostgreSQL and S3.

PostgreSQL is the system's, in a cluster of its own. S3 is moto's server, whose buckets are in
memory; it asks for credentials, but takes any.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
import pytest
import requests
from project import Project
from servers import free_port, running_server

PASSWORDS = {user: token_hex(12) for user in ("admin", "ada", "bob")}
"""Of the accounts in MLflow. Secrets are new in each run: these lines are part of each project."""

DATABASE_PASSWORD = token_hex(12)
S3_KEYS = {"AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": token_hex(12)}
REGION = "us-east-1"

SECRETS = (*PASSWORDS.values(), DATABASE_PASSWORD, S3_KEYS["AWS_SECRET_ACCESS_KEY"])

PROXY = ("--serve-artifacts", "--artifacts-destination", "s3://team/mlflow")

AUTH = """[mlflow]
default_permission = MANAGE
database_uri = {database}/accounts
admin_username = admin
"""


@dataclass(frozen=True)
class Team:
    """The services, empty at first.

    Attributes:
        server: HOST:PORT of MLflow.
        database: address of PostgreSQL, without a password.
        s3: address of the S3 server.
        programs: folder of PostgreSQL's programs.
    """

    server: str
    database: str
    s3: str
    programs: Path

    def uri(self, user: str) -> str:
        """The address of MLflow with the user's password in it."""
        return f"http://{user}:{PASSWORDS[user]}@{self.server}"

    def join(self, project: Project, user: str) -> None:
        """Gives a project the address and the credentials of both services."""
        # of the connection to S3, see dvc.config
        project.env |= {**S3_KEYS, "MLFLOW_TRACKING_URI": self.uri(user)}

    def add_remote(self, project: Project) -> None:
        """Makes the bucket the remote of a project, and commits that."""
        project.run("dvc", "remote", "add", "--default", "team", "s3://team/dvc")
        project.run("dvc", "remote", "modify", "team", "endpointurl", self.s3)
        project.run("dvc", "remote", "modify", "team", "region", REGION)
        project.commit("remote")

    def new_database(self, name: str) -> str:
        """The address of a new, empty database."""
        self._postgresql("createdb", name)
        return f"{self.database}/{name}"

    def objects(self) -> dict[str, bytes]:
        """All that the bucket holds, by name."""
        objects = s3_resource(self.s3).Bucket("team").objects.all()
        return {item.key: item.get()["Body"].read() for item in objects}

    def kept(self) -> bytes:
        """All that the services hold: the databases as SQL, and the objects in the bucket."""
        databases = self._postgresql("pg_dumpall", "--no-role-passwords")
        return b"\n".join([databases, *self.objects().values()])

    def _postgresql(self, program: str, *arguments: str) -> bytes:
        user, _, place = self.database.removeprefix("postgresql://").partition("@")
        host, _, port = place.partition(":")
        command = [self.programs / program, "--host", host, "--port", port, "--username", user]
        environment = os.environ | {"PGPASSWORD": DATABASE_PASSWORD}
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, check=True
        )
        return done.stdout


def s3_resource(address: str) -> Any:
    return boto3.resource(
        "s3",
        endpoint_url=address,
        region_name=REGION,
        aws_access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"],
    )


@contextmanager
def team_services(folder: Path, environment: Mapping[str, str], *options: str) -> Iterator[Team]:
    """Starts all services on free ports, with the accounts of `PASSWORDS`; kills them in the end.

    Args:
        folder: for their files.
        environment: of the processes.
        options: of `mlflow server`; by default it keeps the artifacts in S3 itself.
    """
    programs = postgresql_programs()
    with ExitStack() as stack:
        database = stack.enter_context(postgresql(programs))
        s3 = stack.enter_context(s3_server(folder, environment))
        server = f"127.0.0.1:{free_port()}"
        team = Team(server, database, s3, programs)
        stack.enter_context(mlflow_with_accounts(team, folder, environment, options or PROXY))
        for user in ("ada", "bob"):
            requests.post(
                f"{team.uri('admin')}/api/2.0/mlflow/users/create",
                json={"username": user, "password": PASSWORDS[user]},
                timeout=60,
            ).raise_for_status()
        yield team


def postgresql_programs() -> Path:
    """The folder of PostgreSQL's programs, of the newest version; skips the test without."""
    # Debian keeps them out of the PATH
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")
    return found[-1].parent if found else Path(on_path or "").resolve().parent


@contextmanager
def postgresql(programs: Path) -> Iterator[str]:
    """Starts a new cluster; yields its address."""
    # not in pytest's folder, which only the user who runs the tests may enter
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder, port = Path(name), free_port()
        as_user: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root
            user = ordinary_user()
            os.chown(folder, user.pw_uid, user.pw_gid)
            as_user |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        (folder / "password").write_text(DATABASE_PASSWORD)
        (folder / "password").chmod(0o644)
        data = str(folder / "data")
        new = ["--username", "mlflow", "--auth", "scram-sha-256", "--no-sync"]
        new += ["--encoding", "UTF8", "--locale", "C", "--pwfile", str(folder / "password")]
        subprocess.run([programs / "initdb", "--pgdata", data, *new], **as_user, check=True)
        control = [programs / "pg_ctl", "--pgdata", data, "--wait"]
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        started = ["--log", str(folder / "log"), "--options", options, "start"]
        subprocess.run([*control, *started], **as_user, check=True)
        try:
            yield f"postgresql://mlflow@127.0.0.1:{port}"
        finally:
            subprocess.run([*control, "--mode", "immediate", "stop"], **as_user, check=True)


def ordinary_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


@contextmanager
def s3_server(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Starts moto's S3 server with the bucket `team`; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with running_server(command, address, folder, environment, health="/moto-api/data.json"):
        s3_resource(address).create_bucket(Bucket="team")
        yield address


@contextmanager
def mlflow_with_accounts(
    team: Team, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> Iterator[None]:
    """Starts MLflow's server on the other services."""
    accounts = folder / "auth.ini"
    accounts.write_text(AUTH.format(database=team.database))
    team.new_database("accounts")
    command = ["mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--port", team.server.partition(":")[2], *options]
    command += ["--backend-store-uri", team.new_database("mlflow")]
    environment = {
        **environment,
        **S3_KEYS,
        "AWS_DEFAULT_REGION": REGION,
        "MLFLOW_S3_ENDPOINT_URL": team.s3,
        "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "any",
        "PGPASSWORD": DATABASE_PASSWORD,
    }
    with running_server(command, f"http://{team.server}", folder, environment, seconds=180):
        yield
