#!/usr/bin/python3
"""Options of instances that EC2 keeps apart: CPU credits and cores, maintenance, event windows, names."""
from region import Region, Results, code_of

results = Results()


def equal(name, seen, wanted):
    results.equal('upkeep-' + name, seen, wanted)


def run(**parameters):
    return ec2.run_instances(**{'ImageId': image, 'InstanceType': 't3.micro', 'MinCount': 1, 'MaxCount': 1,
                                **parameters})['Instances'][0]['InstanceId']


def show(i):
    return ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]


def credits():
    t3, t2, m5 = run(), run(InstanceType='t2.micro'), run(InstanceType='m5.large')
    of = lambda *ids: [c['CpuCredits'] for c in ec2.describe_instance_credit_specifications(InstanceIds=list(ids))['InstanceCreditSpecifications']]
    equal('credits', (of(t3, t2, m5), [c['InstanceId'] for c in ec2.describe_instance_credit_specifications()['InstanceCreditSpecifications']]),
          (['unlimited', 'standard'], [t3]))
    changed = ec2.modify_instance_credit_specification(InstanceCreditSpecifications=[
        {'InstanceId': i, 'CpuCredits': 'standard'} for i in (t3, m5, 'i-0123456789abcdef0', 'i-x')])
    equal('credits-change', ([c['InstanceId'] for c in changed['SuccessfulInstanceCreditSpecifications']],
                             [c['Error']['Code'] for c in changed['UnsuccessfulInstanceCreditSpecifications']], of(t3)),
          ([t3], ['InstanceCreditSpecification.NotSupported', 'InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed'], ['standard']))
    ec2.modify_default_credit_specification(InstanceFamily='t2', CpuCredits='unlimited')
    equal('credits-default', (ec2.get_default_credit_specification(InstanceFamily='t2')['InstanceFamilyCreditSpecification']['CpuCredits'],
                              of(run(InstanceType='t2.micro')), of(run(CreditSpecification={'CpuCredits': 'standard'}))),
          ('unlimited', ['unlimited'], ['standard']))
    equal('credits-wrong', [code_of(run, InstanceType='m5.large', CreditSpecification={'CpuCredits': 'standard'}),
                            code_of(run, CreditSpecification={'CpuCredits': 'much'})], ['InvalidParameterCombination', 'InvalidParameterValue'])
    return t3


def options(i):
    cpu = show(run(InstanceType='m5.4xlarge', CpuOptions={'CoreCount': 4, 'ThreadsPerCore': 1}))['CpuOptions']
    equal('cpu', (cpu['CoreCount'], cpu['ThreadsPerCore']), (4, 1))
    equal('cpu-wrong', [code_of(run, InstanceType='m5.large', CpuOptions=c) for c in (
        {'CoreCount': 2, 'ThreadsPerCore': 1}, {'CoreCount': 1, 'ThreadsPerCore': 3}, {'CoreCount': 1})],
          ['InvalidParameterValue', 'InvalidParameterValue', 'MissingParameter'])
    equal('refused', [code_of(run, KernelId="aki-1a2b3c4d"), code_of(ec2.get_console_screenshot, InstanceId=i),
                      code_of(ec2.send_diagnostic_interrupt, InstanceId=i), code_of(ec2.get_instance_uefi_data, InstanceId=i)],
          ['UnsupportedOperation'] * 4)
    equal('recovery', (ec2.modify_instance_maintenance_options(InstanceId=i, AutoRecovery='disabled')['AutoRecovery'],
                       show(i)['MaintenanceOptions']['AutoRecovery'],
                       show(run(MaintenanceOptions={'AutoRecovery': 'disabled'}))['MaintenanceOptions']['AutoRecovery']), ('disabled',) * 3)
    equal('report', [code_of(ec2.report_instance_status, Instances=[x], ReasonCodes=['other'], Status='impaired') for x in (i, 'i-0123456789abcdef0')],
          ['success', 'InvalidInstanceID.NotFound'])
    equal('names', [code_of(ec2.modify_private_dns_name_options, InstanceId=i, PrivateDnsHostnameType='resource-name'),
                    code_of(ec2.modify_private_dns_name_options, InstanceId=i, EnableResourceNameDnsARecord=True),
                    show(i)['PrivateDnsNameOptions']['EnableResourceNameDnsARecord']], ['IncorrectInstanceState', 'success', True])


def requirements():
    types = lambda **q: [t['InstanceType'] for t in ec2.get_instance_types_from_instance_requirements(
        ArchitectureTypes=['x86_64'], VirtualizationTypes=['hvm'],
        InstanceRequirements={'VCpuCount': {'Min': 2, 'Max': 2}, 'MemoryMiB': {'Min': 8192, 'Max': 8192}, **q})['InstanceTypes']]
    plain = types()
    equal('requirements', ('m5.large' in plain, 't3.large' in plain, 'm5.xlarge' in plain, 'm5.metal' in plain), (True, False, False, False))
    equal('requirements-more', (types(AllowedInstanceTypes=['m5.*']), 't3.large' in types(BurstablePerformance='required'),
                                'm5.large' in types(CpuManufacturers=['amd']), types(AcceleratorCount={'Min': 1})), (['m5.large'], True, False, []))
    cpu = ec2.describe_instance_types(InstanceTypes=['m5.xlarge'])['InstanceTypes'][0]['VCpuInfo']
    equal('valid-cores', (cpu['ValidCores'], cpu['ValidThreadsPerCore']), ([1, 2], [1, 2]))


def windows(i):
    window = ec2.create_instance_event_window(Name='night', TimeRanges=[
        {'StartWeekDay': 'monday', 'StartHour': 2, 'EndWeekDay': 'monday', 'EndHour': 8}])['InstanceEventWindow']
    w = window['InstanceEventWindowId']
    equal('window', (window['State'], window['TimeRanges'][0]['EndHour']), ('creating', 8))
    ec2.associate_instance_event_window(InstanceEventWindowId=w, AssociationTarget={'InstanceIds': [i]})
    by = lambda name, value: [x['InstanceEventWindowId'] for x in ec2.describe_instance_event_windows(
        Filters=[{'Name': name, 'Values': [value]}])['InstanceEventWindows']]
    equal('window-filters', [by('instance-id', i), by('event-window-name', 'night'), by('instance-id', 'i-0')], [[w], [w], []])
    equal('window-cron', ec2.modify_instance_event_window(InstanceEventWindowId=w, CronExpression='* 21-23 * * 2,3')
          ['InstanceEventWindow'].get('TimeRanges', []), [])
    equal('window-wrong', [
        code_of(ec2.create_instance_event_window, Name='x'),
        code_of(ec2.create_instance_event_window, TimeRanges=[{'StartWeekDay': 'monday', 'StartHour': 24, 'EndWeekDay': 'monday', 'EndHour': 1}]),
        code_of(ec2.associate_instance_event_window, InstanceEventWindowId=w,
                AssociationTarget={'InstanceIds': [i], 'DedicatedHostIds': ['h-0']}),
        code_of(ec2.associate_instance_event_window, InstanceEventWindowId=w, AssociationTarget={'InstanceIds': ['i-0123456789abcdef0']}),
        code_of(ec2.delete_instance_event_window, InstanceEventWindowId=w),
        code_of(ec2.delete_instance_event_window, InstanceEventWindowId='iew-0123456789abcdef0')],
          ['MissingParameter', 'InvalidParameterValue', 'InvalidParameterCombination', 'InvalidInstanceID.NotFound',
           'InvalidInstanceEventWindowState', 'InvalidInstanceEventWindowID.NotFound'])
    ec2.disassociate_instance_event_window(InstanceEventWindowId=w, AssociationTarget={'InstanceIds': [i]})
    equal('window-end', (ec2.delete_instance_event_window(InstanceEventWindowId=w)['InstanceEventWindowState']['State'],
                         ec2.describe_instance_event_windows()['InstanceEventWindows']), ('deleting', []))


region = Region('--simulate-hosts', '3', name='upkeep')
try:
    image = region.restart_with_image()
    ec2 = region.client()
    one = credits()
    options(one)
    requirements()
    windows(one)
finally:
    region.stop()
results.end()
