"""A Python that has imported torch already: importing it takes longer than most commands that tests run on tiny data.

`server` imports the heavy libraries once, and forks a process for each program. `client` stands in for `python`: it
hands its arguments, directory, environment and streams to the server, forwards signals, and ends as the program ends.
So each program still has a process of its own, which nothing of the tests' process gets into.

    python warm_python.py serve SOCKET           until standard input ends
    python warm_python.py SOCKET PROGRAM ...     PROGRAM being a script, -m MODULE or -c CODE
"""

from __future__ import annotations

import os
import sys

# Libraries read these when they are loaded, or when the interpreter starts: with other values a new one is needed.
READ_AT_START = ("PYTHON", "LD_", "OMP_", "MKL_", "MALLOC_", "CUDA_", "TORCHDYNAMO_", "TORCHINDUCTOR_", "TRITON_")
STREAMS = (0, 1, 2)


def read_at_start(environment: dict[str, str]) -> dict[str, str]:
    """The variables that a running Python cannot take over from another one; a few of its own it can."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START)
        and name not in ("PYTHONPATH", "PYTHONUNBUFFERED")
        and (value or not name.startswith("LD_"))  # an empty one is as none
    }


# -- in place of python -----------------------------------------------------------------------------------------------


def client(address: str, arguments: list[str]) -> None:
    """Have the server run a program; what it cannot run is run by a new Python."""
    import json
    import signal
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        try:
            socket.send_fds(connection, [b"\0"], STREAMS)
        except OSError:  # a stream is closed
            start_python(arguments)
        request = {"arguments": arguments, "directory": os.getcwd(), "environment": dict(os.environ)}
        connection.sendall(json.dumps(request).encode() + b"\n")
        if connection.recv(1) != b"y":
            start_python(arguments)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
        with connection.makefile() as answers:
            status = int(answers.readline() or 1)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def start_python(arguments: list[str]) -> None:
    """Go on as an ordinary Python."""
    os.execv(sys.executable, [sys.executable, *arguments])


# -- the server -------------------------------------------------------------------------------------------------------


def server(address: str, started: dict[str, str]) -> dict | None:
    """Fork a process for every request.

    Args:
        address: of the socket.
        started: the environment as it was before libraries were imported, some of which change it.

    Returns:
        in such a process its request, and in the server None once standard input has ended.
    """
    import select
    import signal
    import socket

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the clients
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen()
        os.rename(f"{address}.new", address)  # it is there once it answers
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            reap()
            if listener not in ready:
                return None
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGINT, signal.default_int_handler)
                return answer(connection, started)
            connection.close()


def reap() -> None:
    """Forget the processes that have ended."""
    import contextlib

    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def answer(connection, started: dict[str, str]) -> dict:
    """Fork the program's process, in which its request is returned, and wait for its end."""
    import contextlib
    import json
    import socket

    _, streams, _, _ = socket.recv_fds(connection, 1, len(STREAMS))
    with connection.makefile() as lines:
        request = json.loads(lines.readline())
    if not can_run(request["arguments"]) or read_at_start(request["environment"]) != read_at_start(started):
        connection.sendall(b"n")
        os._exit(0)
    if (process := os.fork()) == 0:
        connection.close()
        for number, stream in zip(STREAMS, streams, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        return request
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(OSError):  # a client that was killed meanwhile: its program ends in `wait`
        connection.sendall(b"y")
    wait(connection, process)
    os._exit(0)


def wait(connection, process: int) -> None:
    """Forward the client's signals to a process, end it when the client has gone, and send its exit status."""
    import contextlib
    import select
    import signal

    end = os.pidfd_open(process)
    while end not in (ready := select.select([connection, end], [], [])[0]):
        number = b""
        with contextlib.suppress(ConnectionResetError):  # killed before it read its answer
            number = connection.recv(1) if connection in ready else b""
        os.kill(process, number[0] if number else signal.SIGKILL)
        if not number:
            break
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(OSError):  # nobody waits for it any more
        connection.sendall(f"{status}\n".encode())


def can_run(arguments: list[str]) -> bool:
    """Whether these are the arguments of a program, without options of Python's but -u."""
    arguments = [argument for argument in arguments if argument != "-u"][:2]
    return bool(arguments) and (
        not arguments[0].startswith("-") or (len(arguments) == 2 and arguments[0] in ("-m", "-c"))
    )


def python_path(environment: dict[str, str]) -> list[str]:
    """The entries of PYTHONPATH in an environment, in order."""
    return [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


def run(request: dict, started: dict[str, str]) -> None:
    """Become the program: its directory, environment and arguments, and what Python would have as sys.path."""
    import runpy
    import types

    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:] = python_path(request["environment"]) + sys.path[1 + len(python_path(started)) :]
    sys.executable = os.path.join(os.path.dirname(sys.argv[2]), "python")  # what it starts is warm too
    arguments = request["arguments"]
    sys.orig_argv[:] = [sys.executable, *arguments]
    if arguments[0] == "-u" or os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)
    if arguments[0] == "-u":
        del arguments[0]
    if arguments[0] == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.path.insert(0, "")
        sys.argv[:] = ["-c", *arguments[2:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(arguments[1], vars(main))
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
        sys.argv[:] = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def end_after(request: dict, started: dict[str, str]) -> None:
    """Run a program, and end as Python does but without taking the loaded libraries apart, which takes a second."""
    import atexit
    import signal
    import threading

    status: object = 0
    try:
        run(request, started)
    except SystemExit as stop:
        status = stop.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status or 0)


def main() -> None:
    """Be the client, or the server and, in a process that it forks, the program."""
    if sys.argv[1] != "serve":
        return client(sys.argv[1], sys.argv[2:])
    started = dict(os.environ)
    import gc
    import multiprocessing.spawn  # noqa: F401 (before sys.executable changes)

    import cv2  # noqa: F401
    import mmengine.runner  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch._dynamo  # noqa: F401 (which a first optimizer step imports)

    gc.freeze()  # a collection in a fork would copy every page that it looks at
    if (request := server(sys.argv[2], started)) is not None:
        end_after(request, started)


if __name__ == "__main__":
    main()
