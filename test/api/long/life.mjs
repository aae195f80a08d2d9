// The life of an instance by AWS's SDK for JavaScript, which takes answers apart by the shapes it knows.
import { createRequire } from 'node:module';
import assert from 'node:assert';

// Where npm has put it is the first argument, the endpoint the second; keys come from the environment.
const aws = createRequire(process.argv[2] + '/')('@aws-sdk/client-ec2');
const ec2 = new aws.EC2({ region: 'us-east-1', endpoint: process.argv[3], maxAttempts: 1 });
const quick = { client: ec2, maxWaitTime: 120, minDelay: 1, maxDelay: 1 };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const { Images } = await ec2.describeImages({ Filters: [{ Name: 'name', Values: ['micro'] }] });
assert.equal(Images.length, 1);
assert.ok(Images[0].CreationDate && Images[0].EnaSupport === true);
const { KeyMaterial } = await ec2.createKeyPair({ KeyName: 'node', KeyType: 'ed25519' });
assert.match(KeyMaterial, /^-----BEGIN OPENSSH PRIVATE KEY-----/);
const { GroupId } = await ec2.createSecurityGroup({ GroupName: 'node', Description: 'by node' });
const { SecurityGroupRules } = await ec2.authorizeSecurityGroupIngress({
  GroupId, IpPermissions: [{ IpProtocol: 'tcp', FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }],
});
assert.equal(SecurityGroupRules[0].FromPort, 22);

const run = await ec2.runInstances({
  ImageId: Images[0].ImageId, InstanceType: 'micro.64m', MinCount: 1, MaxCount: 1, KeyName: 'node', SecurityGroupIds: [GroupId],
  TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'Name', Value: 'node' }] }],
});
const InstanceIds = [run.Instances[0].InstanceId];
assert.ok(run.Instances[0].LaunchTime instanceof Date);
await aws.waitUntilInstanceRunning(quick, { InstanceIds });
await ec2.createTags({ Resources: InstanceIds, Tags: [{ Key: 'colour', Value: 'red' }] });
const pages = aws.paginateDescribeInstances({ client: ec2, pageSize: 5 }, { Filters: [{ Name: 'tag:colour', Values: ['red'] }] });
for await (const page of pages) {
  assert.deepEqual(page.Reservations.map((r) => r.Instances[0].InstanceId), InstanceIds);
}
for (let i = 0; ; i++) {
  const { Output } = await ec2.getConsoleOutput({ InstanceId: InstanceIds[0] });
  if (Buffer.from(Output ?? '', 'base64').includes('INSULA-INIT-REACHED')) break;
  assert.ok(i < 300, 'init was not reached');
  await sleep(200);
}
await ec2.stopInstances({ InstanceIds });
await aws.waitUntilInstanceStopped(quick, { InstanceIds });
await ec2.startInstances({ InstanceIds });
await aws.waitUntilInstanceRunning(quick, { InstanceIds });
await ec2.terminateInstances({ InstanceIds });
await aws.waitUntilInstanceTerminated(quick, { InstanceIds });
await ec2.deleteSecurityGroup({ GroupId });
await ec2.deleteKeyPair({ KeyName: 'node' });
await assert.rejects(ec2.describeInstances({ InstanceIds: ['i-12345678'] }), { name: 'InvalidInstanceID.NotFound' });
