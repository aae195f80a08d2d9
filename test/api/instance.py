#!/usr/bin/python3
"""Instances on simulated hosts: their attributes, status checks and options; launch templates; attributes of images."""
import base64


from region import Region, Results, code_of

IMAGE = 'ami-0123456789abcdef0'
NOBODY = 'i-0123456789abcdef0'

results = Results()
region = Region('--simulate-hosts', '6', name='instance')


def run(**parameters):
    return ec2.run_instances(**{'ImageId': IMAGE, 'InstanceType': 't3.micro', 'MinCount': 1, 'MaxCount': 1,
                                **parameters})['Instances'][0]['InstanceId']


def show(i):
    return ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]


def attribute(i, name, member):
    return ec2.describe_instance_attribute(InstanceId=i, Attribute=name)[member].get('Value')


def modify(i, **parameters):
    return code_of(ec2.modify_instance_attribute, InstanceId=i, **parameters)


def attributes():
    one = run(UserData='hello')
    results.equal('type', attribute(one, 'instanceType', 'InstanceType'), 't3.micro')
    results.equal('user-data', base64.b64decode(attribute(one, 'userData', 'UserData')), b'hello')
    results.equal('shutdown', attribute(one, 'instanceInitiatedShutdownBehavior', 'InstanceInitiatedShutdownBehavior'), 'stop')
    results.equal('root-device', attribute(one, 'rootDeviceName', 'RootDeviceName'), '/dev/xvda')
    results.equal('kernel-empty', attribute(one, 'kernel', 'KernelId'), None)
    results.equal('no-attribute', modify(one), 'InvalidParameterCombination')
    results.equal('two-attributes', modify(one, EbsOptimized={'Value': True}, DisableApiStop={'Value': True}),
                  'InvalidParameterCombination')
    results.equal('unknown', modify(NOBODY, DisableApiStop={'Value': True}), 'InvalidInstanceID.NotFound')
    results.equal('malformed', modify('i-x', DisableApiStop={'Value': True}), 'InvalidInstanceID.Malformed')
    results.equal('resize-running', modify(one, InstanceType={'Value': 't3.small'}), 'IncorrectInstanceState')
    results.equal('user-data-running', modify(one, UserData={'Value': b'x'}), 'IncorrectInstanceState')
    results.equal('kernel', modify(one, Kernel={'Value': 'aki-1'}), 'UnsupportedOperation')
    results.equal('not-boolean', modify(one, Attribute='disableApiStop', Value='perhaps'), 'InvalidParameterValue')
    results.equal('not-mapped', modify(one, BlockDeviceMappings=[{'DeviceName': '/dev/sdz', 'Ebs': {'DeleteOnTermination': True}}]),
                  'InvalidInstanceAttributeValue')

    results.equal('by-value', modify(one, Attribute='instanceInitiatedShutdownBehavior', Value='terminate'), 'success')
    results.equal('shutdown-changed', attribute(one, 'instanceInitiatedShutdownBehavior', 'InstanceInitiatedShutdownBehavior'),
                  'terminate')
    results.equal('shutdown-wrong', modify(one, InstanceInitiatedShutdownBehavior={'Value': 'explode'}), 'InvalidParameterValue')
    modify(one, DisableApiStop={'Value': True})
    results.equal('stop-protected', code_of(ec2.stop_instances, InstanceIds=[one]), 'OperationNotPermitted')
    modify(one, DisableApiStop={'Value': False})
    modify(one, DisableApiTermination={'Value': True})
    results.equal('termination-protected', code_of(ec2.terminate_instances, InstanceIds=[one]), 'OperationNotPermitted')
    modify(one, DisableApiTermination={'Value': False})

    results.equal('source-check', modify(one, SourceDestCheck={'Value': False}), 'success')
    results.equal('source-check-off', (attribute(one, 'sourceDestCheck', 'SourceDestCheck'), show(one)['SourceDestCheck'],
                                       ec2.describe_network_interfaces(Filters=[{'Name': 'attachment.instance-id', 'Values': [one]}])
                                       ['NetworkInterfaces'][0]['SourceDestCheck']), (False, False, False))
    ec2.reset_instance_attribute(InstanceId=one, Attribute='sourceDestCheck')
    results.equal('source-check-reset', show(one)['SourceDestCheck'], True)
    results.equal('reset-wrong', code_of(ec2.reset_instance_attribute, InstanceId=one, Attribute='userData'), 'InvalidParameterValue')
    group = ec2.create_security_group(GroupName='other', Description='another', VpcId=show(one)['VpcId'])['GroupId']
    results.equal('groups', modify(one, Groups=[group]), 'success')
    results.equal('groups-changed', ([g['GroupId'] for g in show(one)['SecurityGroups']],
                                     [g['GroupId'] for g in ec2.describe_instance_attribute(InstanceId=one, Attribute='groupSet')['Groups']]),
                  ([group], [group]))
    results.equal('groups-unknown', modify(one, Groups=['sg-0123456789abcdef0']), 'InvalidGroup.NotFound')

    ec2.stop_instances(InstanceIds=[one])
    results.equal('resize', modify(one, InstanceType={'Value': 'c5.xlarge'}), 'success')
    results.equal('resized', (show(one)['InstanceType'], show(one)['CpuOptions']['CoreCount'],
                              attribute(one, 'instanceType', 'InstanceType')), ('c5.xlarge', 2, 'c5.xlarge'))
    results.equal('resize-unknown', modify(one, InstanceType={'Value': 'x9.huge'}), 'InvalidInstanceAttributeValue')
    results.equal('resize-no-room', modify(one, InstanceType={'Value': BIGGEST}), 'InsufficientInstanceCapacity')
    results.equal('user-data-bytes', modify(one, UserData={'Value': b'changed'}), 'success')
    results.equal('user-data-changed', base64.b64decode(attribute(one, 'userData', 'UserData')), b'changed')
    results.equal('ebs-optimized', modify(one, EbsOptimized={'Value': True}), 'success')
    results.equal('ebs-optimized-shown', show(one)['EbsOptimized'], True)
    ec2.start_instances(InstanceIds=[one])
    results.equal('started', show(one)['State']['Name'], 'running')
    ec2.terminate_instances(InstanceIds=[one])
    results.equal('modify-terminated', modify(one, DisableApiStop={'Value': True}), 'IncorrectInstanceState')


def statuses():
    one, two = run(), run()
    ec2.stop_instances(InstanceIds=[two])
    shown = lambda **p: sorted(s['InstanceId'] for s in ec2.describe_instance_status(**p)['InstanceStatuses'])
    results.equal('status-running-only', shown(InstanceIds=[one, two]), [one])
    results.equal('status-all', shown(InstanceIds=[one, two], IncludeAllInstances=True), sorted([one, two]))
    status = ec2.describe_instance_status(InstanceIds=[one])['InstanceStatuses'][0]
    results.equal('status-ok', (status['InstanceStatus']['Status'], status['SystemStatus']['Details'][0]['Status']), ('ok', 'passed'))
    results.equal('status-stopped', ec2.describe_instance_status(InstanceIds=[two], IncludeAllInstances=True)['InstanceStatuses'][0]
                  ['SystemStatus']['Status'], 'not-applicable')
    passed = [{'Name': 'instance-status.reachability', 'Values': ['passed']}]
    results.equal('status-filter', shown(Filters=passed, IncludeAllInstances=True), [one])
    results.equal('status-filter-none', shown(Filters=[{'Name': 'system-status.status', 'Values': ['impaired']}]), [])
    results.equal('status-unknown', code_of(ec2.describe_instance_status, InstanceIds=[NOBODY]), 'InvalidInstanceID.NotFound')
    results.equal('status-filter-unknown', code_of(ec2.describe_instance_status, Filters=[{'Name': 'colour', 'Values': ['red']}]),
                  'InvalidParameterValue')
    ec2.get_waiter('instance_status_ok').wait(InstanceIds=[one])

    monitored = ec2.monitor_instances(InstanceIds=[one])['InstanceMonitorings']
    results.equal('monitor', (monitored, show(one)['Monitoring']['State']),
                  ([{'InstanceId': one, 'Monitoring': {'State': 'enabled'}}], 'enabled'))
    ec2.unmonitor_instances(InstanceIds=[one])
    results.equal('unmonitor', show(one)['Monitoring']['State'], 'disabled')
    options = ec2.modify_instance_metadata_options(InstanceId=one, HttpTokens='required', HttpPutResponseHopLimit=3)
    results.equal('metadata', (options['InstanceMetadataOptions'], show(one)['MetadataOptions']['HttpTokens']),
                  (show(one)['MetadataOptions'], 'required'))
    results.equal('metadata-hops', code_of(ec2.modify_instance_metadata_options, InstanceId=one, HttpPutResponseHopLimit=65),
                  'InvalidParameterValue')
    # shown tags have keys that are names there
    change = ec2.modify_instance_metadata_options
    keys = [{'Key': 'a/b', 'Value': '1'}]
    seen = [code_of(ec2.create_tags, Resources=[one], Tags=keys), code_of(change, InstanceId=one, InstanceMetadataTags='enabled'),
            code_of(ec2.delete_tags, Resources=[one], Tags=keys), code_of(change, InstanceId=one, InstanceMetadataTags='enabled'),
            code_of(ec2.create_tags, Resources=[one], Tags=keys), code_of(ec2.create_tags, Resources=[one], Tags=[{'Key': '_index', 'Value': ''}]),
            code_of(change, InstanceId=one, InstanceMetadataTags='disabled')]
    results.equal('metadata-tags', seen, ['success', 'InvalidParameterValue', 'success', 'success', 'InvalidParameterValue', 'InvalidParameterValue', 'success'])
    results.equal('password', ec2.get_password_data(InstanceId=one)['PasswordData'], '')
    ec2.create_placement_group(GroupName='apart', Strategy='spread')
    place = lambda i, **p: code_of(ec2.modify_instance_placement, InstanceId=i, **p)
    results.equal('placement-running', place(one, GroupName='apart'), 'IncorrectInstanceState')
    results.equal('placement-tenancy', place(two, Tenancy='host'), 'InvalidParameterValue')
    results.equal('placement-unknown', place(two, GroupName='nowhere'), 'InvalidPlacementGroup.Unknown')
    results.equal('placement-nothing', place(two), 'MissingParameter')
    results.equal('placement', (place(two, GroupName='apart'), show(two)['Placement']['GroupName']), ('success', 'apart'))
    results.equal('placement-left', (place(two, GroupName=''), show(two)['Placement'].get('GroupName', '')), ('success', ''))
    account = {a['AttributeName']: a['AttributeValues'][0]['AttributeValue']
               for a in ec2.describe_account_attributes()['AccountAttributes']}
    results.equal('account', (account['supported-platforms'], account['default-vpc']), ('VPC', show(one)['VpcId']))
    results.equal('account-one', [a['AttributeName'] for a in ec2.describe_account_attributes(AttributeNames=['default-vpc'])
                                  ['AccountAttributes']], ['default-vpc'])
    ec2.terminate_instances(InstanceIds=[one, two])


def templates():
    made = ec2.create_launch_template(LaunchTemplateName='web', VersionDescription='first', LaunchTemplateData={
        'ImageId': IMAGE, 'InstanceType': 't3.small', 'UserData': 'aGk=', 'InstanceInitiatedShutdownBehavior': 'terminate',
        'TagSpecifications': [{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': 'web'}]}]})['LaunchTemplate']
    lt = made['LaunchTemplateId']
    results.equal('template', (made['DefaultVersionNumber'], made['LatestVersionNumber']), (1, 1))
    results.equal('template-duplicate', code_of(ec2.create_launch_template, LaunchTemplateName='web', LaunchTemplateData={'ImageId': IMAGE}),
                  'InvalidLaunchTemplateName.AlreadyExistsException')
    results.equal('template-unknown', code_of(ec2.delete_launch_template, LaunchTemplateName='none'),
                  'InvalidLaunchTemplateName.NotFoundException')
    second = ec2.create_launch_template_version(LaunchTemplateId=lt, SourceVersion='1', LaunchTemplateData={'InstanceType': 't3.large'})
    second = second['LaunchTemplateVersion']
    results.equal('template-version', (second['VersionNumber'], second['DefaultVersion'], second['LaunchTemplateData']['ImageId'],
                                       second['LaunchTemplateData']['InstanceType']), (2, False, IMAGE, 't3.large'))
    launch = lambda **p: ec2.run_instances(MinCount=1, MaxCount=1, **p)['Instances'][0]
    one = launch(LaunchTemplate={'LaunchTemplateId': lt})
    results.equal('template-launch', (one['InstanceType'], one['Tags'], attribute(one['InstanceId'], 'userData', 'UserData'),
                                      attribute(one['InstanceId'], 'instanceInitiatedShutdownBehavior', 'InstanceInitiatedShutdownBehavior')),
                  ('t3.small', [{'Key': 'Name', 'Value': 'web'}], 'aGk=', 'terminate'))
    results.equal('template-launch-latest', launch(LaunchTemplate={'LaunchTemplateName': 'web', 'Version': '$Latest'})['InstanceType'], 't3.large')
    results.equal('template-launch-over', launch(LaunchTemplate={'LaunchTemplateName': 'web'}, InstanceType='c5.large')['InstanceType'], 'c5.large')
    results.equal('template-no-version', code_of(ec2.run_instances, MinCount=1, MaxCount=1,
                                                 LaunchTemplate={'LaunchTemplateId': lt, 'Version': '7'}),
                  'InvalidLaunchTemplateId.VersionNotFound')
    ec2.modify_launch_template(LaunchTemplateId=lt, DefaultVersion='2')
    versions = lambda **p: [(v['VersionNumber'], v['DefaultVersion']) for v in ec2.describe_launch_template_versions(**p)['LaunchTemplateVersions']]
    results.equal('template-default', versions(LaunchTemplateId=lt), [(1, False), (2, True)])
    results.equal('template-default-all', versions(Versions=['$Default']), [(2, True)])
    deleted = ec2.delete_launch_template_versions(LaunchTemplateId=lt, Versions=['1', '2', '9'])
    results.equal('template-delete-versions', ([v['VersionNumber'] for v in deleted['SuccessfullyDeletedLaunchTemplateVersions']],
                                               [v['ResponseError']['Code'] for v in deleted['UnsuccessfullyDeletedLaunchTemplateVersions']]),
                  ([1], ['unexpectedError', 'launchTemplateVersionDoesNotExist']))
    data = ec2.get_launch_template_data(InstanceId=one['InstanceId'])['LaunchTemplateData']
    results.equal('template-data', (data['InstanceType'], data['ImageId'], data['UserData']), ('t3.small', IMAGE, 'aGk='))
    ec2.delete_launch_template(LaunchTemplateId=lt)
    results.equal('template-gone', (ec2.describe_launch_templates()['LaunchTemplates'], versions(Versions=['$Latest'])), ([], []))


def images():
    change = lambda i, **p: code_of(ec2.modify_image_attribute, ImageId=i, **p)
    results.equal('image-register', code_of(ec2.register_image, Name='x'), 'InvalidAMIName.Malformed')
    results.equal('image-description', (change(OWN, Description={'Value': 'mine'}),
                                        ec2.describe_image_attribute(ImageId=OWN, Attribute='description')['Description']['Value'],
                                        ec2.describe_images(ImageIds=[OWN])['Images'][0]['Description']), ('success', 'mine', 'mine'))
    results.equal('image-of-region', change(IMAGE, Description={'Value': 'mine'}), 'AuthFailure')
    results.equal('image-permission', [change(OWN, LaunchPermission={k: [{'Group': 'all'}]}) for k in ('Add', 'Remove')], ['success'] * 2)
    results.equal('image-permissions', [ec2.describe_image_attribute(ImageId=i, Attribute='launchPermission')['LaunchPermissions']
                                        for i in (IMAGE, OWN)], [[{'Group': 'all'}], []])
    ec2.enable_image_deprecation(ImageId=OWN, DeprecateAt='2099-01-01T00:00:00Z')
    results.equal('image-deprecated', ec2.describe_images(ImageIds=[OWN])['Images'][0]['DeprecationTime'][:10], '2099-01-01')
    ec2.disable_image_deprecation(ImageId=OWN)
    results.ok('image-not-deprecated', 'DeprecationTime' not in ec2.describe_images(ImageIds=[OWN])['Images'][0])
    results.equal('image-past', code_of(ec2.enable_image_deprecation, ImageId=OWN, DeprecateAt='2001-01-01T00:00:00Z'),
                  'InvalidParameterValue')


OWN = 'ami-0fedcba9876543210'
try:
    region.restart_with_image(IMAGE)
    region.restart_with_image(OWN, account='123456789012', region='us-east-1')
    ec2 = region.client()
    TYPES = {t['InstanceType']: t['MemoryInfo']['SizeInMiB']
             for page in ec2.get_paginator('describe_instance_types').paginate() for t in page['InstanceTypes'] if not t['BareMetal']}
    BIGGEST = max(TYPES, key=TYPES.get)
    attributes()
    statuses()
    templates()
    images()
finally:
    region.stop()
results.end()
