"""What an application can do with kazoo over TLS, and what certificates decide."""
import os
import socket
import ssl

from kazoo.exceptions import NoAuthError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry
from kazoo.security import make_acl

from checks import check, client, equal, eventually, main, raises

CERTS = os.environ['CERTS']
SECURE = os.environ['ZK_SECURE_HOST']
ALICE = 'CN=alice,O=zabd interop'


def secure(name='alice', ca='ca', **options):
    """A client with the certificate of this name."""
    return client(
        SECURE,
        use_ssl=True,
        certfile=f'{CERTS}/{name}.crt',
        keyfile=f'{CERTS}/{name}.key',
        ca=f'{CERTS}/{ca}.crt',
        verify_certs=True,
        **options,
    )


def refused(**options):
    """No session may come of this."""
    zk = secure(start=False, connection_retry=KazooRetry(max_tries=3, delay=0.05), **options)
    try:
        zk.start(timeout=3)
    except KazooTimeoutError:
        return
    except ssl.SSLError:
        return
    raise AssertionError(f'connected with {options}')


@check
def tls_operations():
    zk = secure()
    equal(zk.create('/tls', b'x'), '/tls')
    equal(zk.get('/tls')[0], b'x')
    body = os.urandom(900_000)
    zk.set('/tls', body)
    equal(zk.get('/tls')[0], body)
    equal(client().get('/tls')[0], body)


@check
def tls_watches_and_ephemerals():
    zk, other = secure(), secure('bob')
    seen = []
    zk.exists('/tls-eph', watch=seen.append)
    other.create('/tls-eph', ephemeral=True)
    eventually('created', lambda: len(seen) == 1)
    zk.exists('/tls-eph', watch=seen.append)
    other.stop()
    eventually('gone with the session', lambda: len(seen) == 2)
    equal([event.type for event in seen], ['CREATED', 'DELETED'])


@check
def x509_acl():
    alice, bob, plain = secure(), secure('bob'), client()
    alice.create('/x509', b'hers', acl=[make_acl('x509', ALICE, all=True)])
    equal(alice.get('/x509')[0], b'hers')
    raises(NoAuthError, bob.get, '/x509')
    raises(NoAuthError, plain.get, '/x509')
    equal(alice.get_acls('/x509')[0], [make_acl('x509', ALICE, all=True)])


@check
def x509_auth_ids_expand():
    alice, bob = secure(), secure('bob')
    alice.create('/x509-auth', b'', acl=[make_acl('auth', '', all=True)])
    equal([(acl.id.scheme, acl.id.id) for acl in alice.get_acls('/x509-auth')[0]], [('x509', ALICE)])
    raises(NoAuthError, bob.set, '/x509-auth', b'x')


@check
def certificate_of_another_authority_is_refused():
    refused(name='mallory')


@check
def client_refuses_a_server_of_another_authority():
    refused(ca='other-ca')


@check
def client_without_certificate_is_refused():
    context = ssl.create_default_context(cafile=f'{CERTS}/ca.crt')
    host, port = SECURE.split(':')
    with socket.create_connection((host, int(port)), 5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname='localhost') as tls:
                # With TLS 1.3 the refusal comes after the client's side of the handshake is done.
                tls.sendall(b'\0\0\0\x2d' + b'\0' * 45)
                equal(tls.recv(100), b'')
        except (ssl.SSLError, ConnectionResetError):
            pass


@check
def plain_client_on_the_tls_port_is_refused():
    zk = client(SECURE, start=False, connection_retry=KazooRetry(max_tries=2, delay=0.05))
    raises(KazooTimeoutError, zk.start, timeout=2)


@check
def server_certificate_names_the_host():
    context = ssl.create_default_context(cafile=f'{CERTS}/ca.crt')
    context.load_cert_chain(f'{CERTS}/alice.crt', f'{CERTS}/alice.key')
    host, port = SECURE.split(':')
    with socket.create_connection((host, int(port)), 5) as raw, context.wrap_socket(raw, server_hostname='localhost') as tls:
        return f'{tls.version()} {tls.cipher()[0]}'


main()
