#!/usr/bin/python3
"""Terminated instances are shown for an hour, then nothing is left of them, though the region is killed meanwhile."""
import sqlite3
import time

from region import Region, Results, code_of

results = Results()
region = Region('--simulate-hosts', '6', '--throttle', 'off', name='termination')
TABLES = {'resource': 'id', 'machine': 'instance', 'termination': 'instance', 'tag': 'resource', 'property': 'resource',
          'link': 'target', 'tally': 'instance'}


def run(count, **more):
    return [i['InstanceId'] for i in ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=count, MaxCount=count, **more)['Instances']]


def left():
    """Rows that tables have of instances of old, by table."""
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        found = {table: db.execute(f"SELECT COUNT(*) FROM {table} WHERE {column} IN (SELECT value FROM setting WHERE name LIKE 'old-%')")
                 .fetchone()[0] for table, column in TABLES.items()}
    db.close()
    return found


def hour_passes(ids):
    with sqlite3.connect(region.data + '/region.db') as db:
        db.executemany('INSERT INTO setting VALUES (?, ?)', [(f'old-{i}', i) for i in ids])
        db.executemany('UPDATE termination SET at = at - 3600000 WHERE instance = ?', [(i,) for i in ids])
    db.close()


def wait(condition):
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.1)
    return False


try:
    image = region.restart_with_image()
    ec2 = region.client()
    old = run(700, TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': 'old'}]}])
    group = ec2.create_security_group(GroupName='g', Description='d')['GroupId']
    old += run(1, SecurityGroupIds=[group], IamInstanceProfile={'Name': 'web'})
    young, alive = run(2), run(2)
    ec2.terminate_instances(InstanceIds=old + young)
    ec2.terminate_instances(InstanceIds=old[:3])
    shown = lambda ids: sum(len(r['Instances']) for r in ec2.describe_instances(InstanceIds=ids)['Reservations'])
    results.equal('shown', (shown(old), shown(young)), (701, 2))
    region.terminate()
    hour_passes(old)
    region.start()
    # Killed while it removes them, again and again: what is not removed then is afterwards.
    for _ in range(4):
        time.sleep(0.25)
        region.kill()
        region.start()
    ec2 = region.client()
    results.ok('removed', wait(lambda: not any(left().values())), left())
    results.equal('not-found', code_of(ec2.describe_instances, InstanceIds=old[:1]), 'InvalidInstanceID.NotFound')
    results.equal('young', (shown(young), shown(alive)), (2, 2))
    results.equal('tags', ec2.describe_tags(Filters=[{'Name': 'value', 'Values': ['old']}])['Tags'], [])
    results.equal('group-free', code_of(ec2.delete_security_group, GroupId=group), 'success')
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        results.equal('usage-kept', db.execute('SELECT COUNT(*) FROM usage').fetchone()[0], 705)
        plan = ' '.join(row[3] for row in db.execute('EXPLAIN QUERY PLAN SELECT t.instance FROM termination t LEFT JOIN machine m ON '
                                                     'm.instance = t.instance WHERE t.at <= 1 ORDER BY t.at LIMIT 200'))
        results.ok('by-index', 'SCAN' not in plan and 'termination_by_age' in plan, plan)
    db.close()
    ec2.terminate_instances(InstanceIds=alive)
finally:
    region.stop()
results.end()
