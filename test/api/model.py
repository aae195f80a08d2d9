#!/usr/bin/python3
"""Every action of the model answers: without parameters, with a parameter that there is not, with an id that nothing
has. Never a 500, never silence."""
import sys

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import re
import http.client
from urllib.parse import urlencode, urlparse

from region import Region, Results

region, results = Region('--simulate-hosts', '3', name='model'), Results()
env = region.environment()
credentials = Credentials(env['AWS_ACCESS_KEY_ID'], env['AWS_SECRET_ACCESS_KEY'])


def send(service, version, **parameters):
    body = urlencode({'Version': version, **parameters})
    request = AWSRequest('POST', region.url + '/', data=body,
                         headers={'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8'})
    SigV4Auth(credentials, service, 'us-east-1').add_auth(request)
    connection = http.client.HTTPConnection(urlparse(region.url).netloc, timeout=20)
    connection.request('POST', '/', body, dict(request.headers))
    answer = connection.getresponse()
    text = answer.read().decode()
    code = re.search('<Code>([^<]*)</Code>', text)
    return answer.status, code.group(1) if code else ''


def sweep(service):
    model = botocore.session.get_session().get_service_model(service)
    wrong, done, missing = [], 0, 0
    for name in model.operation_names:
        shape = model.operation_model(name).input_shape
        required = shape.required_members if shape else []
        status, code = send(service, model.api_version, Action=name)
        if status >= 500 and code not in ('InternalError',) or status not in (200, 400, 403, 412):
            wrong.append(f'{name}: {status} {code}')
        if required:
            missing += 1
            if code != 'MissingParameter':
                wrong.append(f'{name} without {required}: {status} {code}')
        status, code = send(service, model.api_version, Action=name, NoSuchParameter='x')
        if (status, code) != (400, 'UnknownParameter'):
            wrong.append(f'{name} with NoSuchParameter: {status} {code}')
        done += 1
    return done, missing, wrong


for service in ('ec2', 'sts'):
    done, missing, wrong = sweep(service)
    for line in wrong[:20]:
        print('#', line)
    results.ok(f'model-{service}-{done}-actions', not wrong, f'{len(wrong)} wrong, {wrong[0] if wrong else ""}')
    results.ok(f'model-{service}-required', missing > (380 if service == 'ec2' else 2), f'{missing} actions')
results.equal('model-invalid-action', send('ec2', '2016-11-15', Action='NoSuchAction'), (400, 'InvalidAction'))
results.equal('model-no-action', send('ec2', '2016-11-15'), (400, 'MissingAction'))
results.ok('model-serve-lives', region.process.poll() is None, 'serve ended')
region.stop()
results.end()
