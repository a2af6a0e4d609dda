import itertools

import pytest

pytest.register_assert_rewrite("harness")
from harness import Raw, Server  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--io", action="append", choices=["uring", "epoll"], help="how the server drives its sockets")


def pytest_generate_tests(metafunc):
    if "io" in metafunc.fixturenames:
        backends = metafunc.config.getoption("--io") or ["uring", "epoll"]
        metafunc.parametrize("io", backends, scope="session")


@pytest.fixture(scope="session")
def server(io, tmp_path_factory):
    """The server that most tests share; each test acts as agents of its own."""
    server = Server(tmp_path_factory.mktemp(io), io, "--shards", "2")
    yield server
    assert server.stop() == 0, server.text
    faults = [event for event in server.events if event["level"] == "ERROR" or "panic" in str(event)]
    assert not faults, faults


@pytest.fixture
def start(io, tmp_path):
    """Starts servers with settings of their own; stops what a test leaves running."""
    servers = []

    def start(*flags, directory=None, **options):
        servers.append(Server(directory or tmp_path / "data", io, *flags, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


NUMBERS = itertools.count(1)


@pytest.fixture
def agent():
    """The name of an agent that nobody else is."""
    return f"agent-{next(NUMBERS)}"


@pytest.fixture
def client(server, agent):
    """A connection on which the legacy era has been negotiated."""
    with server.client(agent) as client:
        client.initialize()
        yield client


@pytest.fixture
def raw(server):
    """A bare connection to the WebSocket listener."""
    with Raw(server.ws) as raw:
        yield raw
