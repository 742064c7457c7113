"""The small frame that the kazoo programs share: named checks, clients with a bound on everything, the proxy's words.

Prints what harness/suite.ts reads: PASS, FAIL and INFO lines, last of all DONE.
"""
import logging
import os
import signal
import socket
import sys
import time
import traceback

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

CHECK_LIMIT_S = int(os.environ.get('CHECK_LIMIT_S', '60'))
EVENT_LIMIT_S = 15
ORDER_LIMIT_S = 60

logging.basicConfig(level=logging.CRITICAL)

_checks = []
_clients = []


class TooSlow(Exception):
    """A check did not come to its end within its limit."""


def check(function):
    """Registers a check; its name in the output is the function's, with dashes."""
    _checks.append(function)
    return function


def client(hosts=None, timeout=8.0, start=True, **options):
    """A started client that is closed after the check, whatever happens in it."""
    options.setdefault('connection_retry', KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5))
    zk = KazooClient(hosts or os.environ['ZK_HOST'], timeout=timeout, **options)
    _clients.append(zk)
    if start:
        zk.start(timeout=20)
    return zk


def proxied(**options):
    """A client whose connection goes through the proxy."""
    return client(os.environ['PROXY_HOST'], **options)


def proxy(order):
    """Tells the proxy `cut`, `block` or `open`, or the run what is to happen to its servers."""
    with socket.create_connection(('127.0.0.1', int(os.environ['PROXY_CONTROL'])), ORDER_LIMIT_S) as control:
        control.sendall(order.encode() + b'\n')
        answer = control.makefile().readline().strip()
        assert answer == 'ok', f'{order}: {answer}'


def eventually(what, probe, limit=EVENT_LIMIT_S):
    """Asks again and again until the probe gives something true, which is returned."""
    end = time.monotonic() + limit
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f'{what}: not within {limit} s'
        time.sleep(0.02)


def raises(kind, call, *args, **options):
    """The call has to fail with exactly this kind of error."""
    try:
        result = call(*args, **options)
    except Exception as error:
        assert type(error) is kind, f'expected {kind.__name__}, got {error!r}'
        return error
    raise AssertionError(f'expected {kind.__name__}, got the result {result!r}')


def equal(found, wanted):
    assert found == wanted, f'found {found!r}, wanted {wanted!r}'


def _stop_clients():
    while _clients:
        zk = _clients.pop()
        try:
            zk.stop()
            zk.close()
        except Exception as error:
            print(f'closing a client: {error!r}', file=sys.stderr)


def main():
    """Runs the registered checks in their order; arguments select some by name."""

    def too_slow(*_):
        raise TooSlow(f'longer than {CHECK_LIMIT_S} s')

    signal.signal(signal.SIGALRM, too_slow)
    for function in _checks:
        name = function.__name__.replace('_', '-')
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        signal.alarm(CHECK_LIMIT_S)
        started = time.monotonic()
        try:
            detail = function()
            took = time.monotonic() - started
            print(f'PASS {name} ({took:.1f} s{"; " + detail if detail else ""})')
        except Exception as error:
            traceback.print_exc()
            print(f'FAIL {name}: {type(error).__name__} {" ".join(str(error).split())[:300]}')
        finally:
            signal.alarm(0)
            if 'PROXY_CONTROL' in os.environ:
                proxy('open')
            _stop_clients()
            sys.stdout.flush()
    print('DONE', flush=True)
    # Threads of a client that would not stop must not keep the process.
    os._exit(0)
