#!/usr/bin/python3
"""Bytes that are no request, or too long: each is answered in the API's form, and the connection after it is closed; many requests
on one connection are answered in order."""
import re
import socket
import ssl
import subprocess
import tempfile
from contextlib import suppress
from urllib.parse import urlparse

from region import Region, Results


def talk(region, data, context=None):
    """What comes back until the other end closes."""
    url = urlparse(region.url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as plain:
        with context.wrap_socket(plain) if context else plain as s:
            got = b''
            # Who is refused in the middle of what it sends may find the connection reset; the answer is there first.
            with suppress(ConnectionError):
                s.sendall(data)
            with suppress(ConnectionError):
                while more := s.recv(65536):
                    got += more
    return got


def outcome(got):
    code = re.search(b'<Code>([^<]*)</Code>', got)
    return got[:12].decode(), code.group(1).decode() if code else got[-100:]


HEAD = b'POST / HTTP/1.1\r\nHost: h\r\n'
MALFORMED = ('HTTP/1.1 400', 'MalformedHttpRequestException')
TOO_LARGE = ('HTTP/1.1 413', 'RequestEntityTooLargeException')
UNSUPPORTED = ('HTTP/1.1 400', 'InvalidAction')
CASES = {
    'no-http': (b'hello\r\n\r\n', MALFORMED),
    'no-colon': (b'GET / HTTP/1.1\r\nHost h\r\n\r\n', MALFORMED),
    'long-line': (b'GET /' + b'a' * 70000 + b' HTTP/1.1\r\nHost: h\r\n\r\n', MALFORMED),
    'long-header': (HEAD + b'X: ' + b'a' * 70000 + b'\r\n\r\n', MALFORMED),
    'many-headers': (HEAD + b'X: a\r\n' * 101 + b'\r\n', MALFORMED),
    'length-no-number': (HEAD + b'Content-Length: x\r\n\r\n', MALFORMED),
    'two-lengths': (HEAD + b'Content-Length: 1\r\nContent-Length: 2\r\n\r\nab', MALFORMED),
    'length-negative': (HEAD + b'Content-Length: -1\r\n\r\n', MALFORMED),
    'long-body': (HEAD + b'Content-Length: 5000000\r\n\r\n' + b'a' * 5000000, TOO_LARGE),
    'long-chunk': (HEAD + b'Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n', TOO_LARGE),
    'chunk-no-number': (HEAD + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n', TOO_LARGE),
    'method': (b'BREW / HTTP/1.1\r\nHost: h\r\n\r\n', UNSUPPORTED),
    'put': (b'PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n', UNSUPPORTED),
    'expectation': (HEAD + b'Expect: miracles\r\nContent-Length: 1\r\n\r\n', MALFORMED),
}

region, results = Region('--simulate-hosts', '1', name='wire'), Results()
for name, (data, expected) in CASES.items():
    results.equal('wire-' + name, outcome(talk(region, data)), expected)

got = talk(region, (b'GET /?Action=DescribeVpcs HTTP/1.1\r\nHost: h\r\n\r\n' * 50) + CASES['no-http'][0])
results.equal('wire-pipeline', (got.count(b'<Code>MissingAuthenticationToken</Code>'), outcome(got[got.rfind(b'HTTP/1.1 '):])),
              (50, MALFORMED))
results.ok('wire-serve-lives', region.process.poll() is None, 'serve ended')
region.stop()

folder = tempfile.TemporaryDirectory()
key, certificate = folder.name + '/key.pem', folder.name + '/certificate.pem'
subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=h', '-keyout', key, '-out', certificate],
               check=True, capture_output=True)
region = Region('--simulate-hosts', '1', '--tls-certificate', certificate, '--tls-key', key, name='wire')
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for name in ('no-http', 'long-header', 'long-body', 'put'):
    results.equal('wire-tls-' + name, outcome(talk(region, CASES[name][0], context)), CASES[name][1])
region.stop()
results.end()
