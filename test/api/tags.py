#!/usr/bin/python3
"""DescribeTags: filters, and pages that stay whole while tags come and go; filters by tags of other actions."""
import random
import sqlite3

from region import Region, Results, code_of

results = Results()
region = Region('--simulate-hosts', '3', '--throttle', 'off', name='tags')


def tags(**filters):
    """(resource, key, value) of each that is listed."""
    parameters = {'Filters': [{'Name': k.replace('_', '-').replace('tag-', 'tag:'), 'Values': v} for k, v in filters.items()]}
    return [(t['ResourceId'], t['Key'], t['Value']) for t in ec2.describe_tags(**(parameters if filters else {}))['Tags']]


def pages(size, meanwhile=None, **parameters):
    """All pages, with something done between them."""
    seen, token = [], None
    while True:
        page = ec2.describe_tags(MaxResults=size, **parameters, **({'NextToken': token} if token else {}))
        seen.append([(t['ResourceId'], t['Key'], t['Value']) for t in page['Tags']])
        token = page.get('NextToken')
        if not token:
            return seen
        if meanwhile:
            meanwhile(len(seen))


def every(reference, **filters):
    return sorted(tags(**filters)) == sorted(reference)


try:
    ec2 = region.client()
    vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16')['Vpc']['VpcId']
    ids = [vpc] + [ec2.create_subnet(VpcId=vpc, CidrBlock=f'10.0.{i}.0/24')['Subnet']['SubnetId'] for i in range(40)]
    stages, reference = ('', 'dev', 'prod', 'a b', 'pr*d', 'x' * 256), set()
    for i, resource in enumerate(ids):
        has = {'Name': f'n{i}', 'stage': stages[i % len(stages)]}
        if i % 3 == 0:
            has['only some, of them'] = '7:9 x'
        ec2.create_tags(Resources=[resource], Tags=[{'Key': k, 'Value': v} for k, v in has.items()])
        reference |= {(resource, k, v) for k, v in has.items()}
    results.ok('all', every(reference), '')
    results.ok('by-key', every([t for t in reference if t[1] in ('Name', 'stage')], key=['stage', 'Name', 'stage', 'none']), '')
    results.ok('by-key-value', every([t for t in reference if t[1] == 'stage' and t[2] in ('dev', '')], key=['stage'], value=['dev', '']), '')
    results.ok('by-tag', every([t for t in reference if t[1] == 'stage' and t[2] in ('prod', 'a b')], tag_stage=['prod', 'a b']), '')
    results.ok('by-value', every([t for t in reference if t[2] == 'prod'], value=['prod']), '')
    results.ok('by-wildcard', every([t for t in reference if t[2] in ('prod', 'pr*d')], value=['pr*d']), '')
    results.ok('by-escape', every([t for t in reference if t[2] == 'pr*d'], key=['stage'], value=['pr\\*d']), '')
    results.ok('by-key-wildcard', every([t for t in reference if t[1] == 'stage'], key=['st?ge']), '')
    results.ok('by-resource', every([t for t in reference if t[0] in ids[3:5]], resource_id=ids[3:5] + ['vpc-none']), '')
    results.ok('by-resource-key', every([t for t in reference if t[0] == ids[6] and t[1] == 'stage'], resource_id=[ids[6]], key=['stage']), '')
    results.ok('by-type', every([t for t in reference if t[0] == vpc], resource_type=['vpc']), '')

    for size in (5, 7, 1000):
        seen = pages(size)
        results.ok(f'pages-{size}', sorted(sum(seen, [])) == sorted(reference) and all(len(p) == size for p in seen[:-1]), '')
    keyed = [{'Name': 'key', 'Values': ['Name', 'stage']}, {'Name': 'value', 'Values': ['dev', 'prod', 'n1', '']}]
    for name, parameters, wanted in (
            ('key', [{'Name': 'key', 'Values': ['Name', 'stage']}], [t for t in reference if t[1] in ('Name', 'stage')]),
            ('key-value', keyed, [t for t in reference if t[1] in ('Name', 'stage') and t[2] in ('dev', 'prod', 'n1', '')]),
            ('resource', [{'Name': 'resource-id', 'Values': ids[:9]}], [t for t in reference if t[0] in ids[:9]])):
        seen = pages(5, Filters=parameters)
        results.ok('pages-by-' + name, sorted(sum(seen, [])) == sorted(wanted) and all(len(p) == 5 for p in seen[:-1]), seen)

    # Tags come and go between the pages: what was there all the time is seen once.
    draw = random.Random(7)

    def change(n):
        resource = draw.choice(ids)
        ec2.create_tags(Resources=[resource], Tags=[{'Key': draw.choice(['A', 'Z', 'new']) + str(n), 'Value': 'v'}])
        if n % 2:
            ec2.delete_tags(Resources=[resource], Tags=[{'Key': 'Name'}])
            reference.difference_update([t for t in reference if t[0] == resource and t[1] == 'Name'])

    seen = sum(pages(5, change), [])
    results.ok('stable', len(seen) == len(set(seen)) and reference <= set(seen), sorted(reference - set(seen))[:3])
    results.equal('tokens', [code_of(ec2.describe_tags, NextToken=t) for t in ('x', 'YWZ0ZXI6', 'YWZ0ZXI6MTI=', 'YWZ0ZXI6MSB2cGMgOTk6eA==')],
                  ['InvalidNextToken', 'success', 'InvalidNextToken', 'InvalidNextToken'])

    # Other actions' filters by a key.
    for key in ('only some, of them', 'stage'):
        found = ec2.describe_subnets(Filters=[{'Name': 'tag-key', 'Values': [key, 'none']}])['Subnets']
        results.equal('tag-key-' + key[:4], sorted(s['SubnetId'] for s in found),
                      sorted({r for r, k, _ in reference if k == key and r.startswith('subnet')}))
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        for name, where in (('all', '(name, value, kind, seq) > (?, ?, ?, 1)'), ('key', 'name = ? AND (value, kind, seq) > (?, ?, 1)'),
                            ('value', 'name = ? AND value = ? AND (kind, seq) > (?, 1)')):
            plan = ' '.join(row[3] for row in db.execute(
                'EXPLAIN QUERY PLAN SELECT resource, name, value, kind, seq FROM tag WHERE account = ? AND region = ? AND '
                f'{where} ORDER BY name, value, kind, seq', ['x'] * 5))
            results.ok('index-' + name, 'tag_by_value' in plan and 'SCAN' not in plan and 'B-TREE' not in plan, plan)
    db.close()
finally:
    region.stop()
results.end()
