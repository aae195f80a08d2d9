/* Records become a plan: each list of it, from what the API's own actions have made. */
#include "region_call.h"

#include "region/network_change.h"
#include "region/vpc_plan.h"

static const struct plan_group *group_of(const struct plan *p, const char *id)
{
	for (unsigned i = 0; i < p->groups_count; i++)
		if (!strcmp(p->groups[i].id, id))
			return &p->groups[i];
	return NULL;
}

static const struct plan_table *table_of(const struct plan *p, const char *id)
{
	for (unsigned i = 0; i < p->tables_count; i++)
		if (!strcmp(p->tables[i].id, id))
			return &p->tables[i];
	return NULL;
}

/* Does it survive being written and read, which checks each text? */
static void is_whole(struct fixture *f, struct plan *p)
{
	json_t *json = plan_write(p);
	struct plan again = {0};
	struct error e;

	if (plan_read(&again, json, &f->arena, &e) < 0)
		fail_msg("%s", e.text);
	json_decref(json);
}

static void addresses_and_names(void **state)
{
	struct fixture *f = *state;
	const char *vpc = id_of(f, "CreateVpc", "Vpc.VpcId",
	                        "CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true"),
	           *igw = id_of(f, "CreateInternetGateway", "InternetGateway.InternetGatewayId", "%s", ""),
	           *subnet, *group, *interface, *other, *instance, *stopped, *address;
	const char *const *instances;
	const struct plan_interface *i;
	struct plan p;

	call(f, "AttachInternetGateway", "VpcId=%s&InternetGatewayId=%s", vpc, igw);
	call(f, "ModifyVpcAttribute", "VpcId=%s&EnableDnsHostnames.Value=true", vpc);
	subnet = id_of(f, "CreateSubnet", "Subnet.SubnetId",
	               "VpcId=%s&CidrBlock=10.0.1.0/24&AvailabilityZone=us-east-1a", vpc);
	group = id_of(f, "CreateSecurityGroup", "GroupId", "VpcId=%s&GroupName=g&GroupDescription=g", vpc);
	assert_false(vpc_plan_wanted(&f->r, vpc));
	stopped = machine(f, subnet, group, "stopped", &other);
	assert_false(vpc_plan_wanted(&f->r, vpc));
	instance = machine(f, subnet, group, "pending", &interface);
	assert_true(vpc_plan_wanted(&f->r, vpc));
	assert_string_equal(vpc_plan_list(&f->r)[0], vpc);
	assert_null(vpc_plan_list(&f->r)[1]);
	call(f, "AssignPrivateIpAddresses", "NetworkInterfaceId=%s&PrivateIpAddress.1=10.0.1.77", interface);
	address = id_of(f, "AllocateAddress", "AllocationId", "Domain=vpc");
	call(f, "AssociateAddress", "AllocationId=%s&NetworkInterfaceId=%s&PrivateIpAddress=10.0.1.77",
	     address, interface);

	assert_int_equal(vpc_plan_make(&f->r, vpc, &p, &instances), 0);
	is_whole(f, &p);
	assert_string_equal(instances[0], instance);
	assert_null(instances[1]);
	assert_string_equal(p.host, "198.19.255.254");
	assert_true(p.internet && p.dns && p.dns_names && !p.egress_only);
	assert_int_equal(p.cidrs_count, 1);
	assert_int_equal(p.cidrs6_count, 1);
	assert_int_equal(p.interfaces_count, 1);
	i = &p.interfaces[0];
	assert_string_equal(i->id, interface);
	assert_string_equal(i->instance, instance);
	assert_int_equal(i->addresses_count, 2);
	assert_string_equal(i->addresses[1], "10.0.1.77");
	assert_int_equal(i->publics_count, 1);
	assert_string_equal(i->publics[0].private, "10.0.1.77");
	assert_true(i->check && !i->log);
	assert_int_equal(strncmp(i->name, "ip-10-0-1-", 10), 0);
	/* Of the stopped one, too: a member, and a name. */
	assert_int_equal(group_of(&p, group)->members_count, 3);
	assert_int_equal(p.names_count, 4);
	(void)stopped;

	call(f, "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=%s&SourceDestCheck.Value=false",
	     interface);
	call(f, "DisassociateAddress", "PublicIp=%s", i->publics[0].address);
	assert_int_equal(vpc_plan_make(&f->r, vpc, &p, NULL), 0);
	assert_false(p.interfaces[0].check);
	assert_int_equal(p.interfaces[0].publics_count, 0);
}

static void rules(void **state)
{
	struct fixture *f = *state;
	const char *vpc = id_of(f, "CreateVpc", "Vpc.VpcId", "CidrBlock=10.0.0.0/16"),
	           *peer = id_of(f, "CreateVpc", "Vpc.VpcId", "CidrBlock=10.1.0.0/16"), *pcx, *list, *a, *b,
	           *interface, *there;
	const struct plan_group *g;
	struct plan p;

	pcx = id_of(f, "CreateVpcPeeringConnection", "VpcPeeringConnection.VpcPeeringConnectionId",
	            "VpcId=%s&PeerVpcId=%s", vpc, peer);
	call(f, "AcceptVpcPeeringConnection", "VpcPeeringConnectionId=%s", pcx);
	a = id_of(f, "CreateSecurityGroup", "GroupId", "VpcId=%s&GroupName=a&GroupDescription=a", vpc);
	b = id_of(f, "CreateSecurityGroup", "GroupId", "VpcId=%s&GroupName=b&GroupDescription=b", peer);
	there = id_of(f, "CreateSubnet", "Subnet.SubnetId", "VpcId=%s&CidrBlock=10.1.1.0/24", peer);
	machine(f, there, b, "running", &interface);
	list = id_of(f, "CreateManagedPrefixList", "PrefixList.PrefixListId",
	             "PrefixListName=l&MaxEntries=5&AddressFamily=IPv4&Entry.1.Cidr=192.0.2.0/24&"
	             "Entry.2.Cidr=198.51.100.0/24");
	call(f, "AuthorizeSecurityGroupIngress",
	     "GroupId=%s&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort="
	     "81&"
	     "IpPermissions.1.Groups.1.GroupId=%s&IpPermissions.2.IpProtocol=icmp&IpPermissions.2.FromPort=8&"
	     "IpPermissions.2.ToPort=-1&IpPermissions.2.PrefixListIds.1.PrefixListId=%s",
	     a, b, list);
	assert_int_equal(vpc_plan_make(&f->r, vpc, &p, NULL), 0);
	is_whole(f, &p);
	g = group_of(&p, a);
	assert_int_equal(g->rules_count, 3); /* and the egress rule that it has from the start */
	for (unsigned i = 0; i < g->rules_count; i++) {
		const struct plan_rule *rule = &g->rules[i];

		if (rule->egress) {
			assert_string_equal(rule->cidr, "0.0.0.0/0");
			assert_int_equal(rule->protocol, -1);
		} else if (rule->protocol == 6) {
			assert_string_equal(rule->group, b);
			assert_int_equal(rule->from, 80);
			assert_int_equal(rule->to, 81);
		} else {
			assert_int_equal(rule->protocol, 1);
			assert_int_equal(rule->icmp_type, 8);
			assert_int_equal(rule->icmp_code, -1);
			assert_int_equal(rule->from, -1);
			assert_int_equal(rule->prefixes_count, 2);
		}
	}
	assert_int_equal(group_of(&p, b)->members_count, 1);
	assert_int_equal(group_of(&p, b)->rules_count, 0);
	assert_int_equal(p.peerings_count, 1);
	assert_string_equal(p.peerings[0].vpc, peer);
	assert_string_equal(p.peerings[0].cidrs[0], "10.1.0.0/16");
	assert_int_equal(p.interfaces_count, 0);
}

static void routes_and_acls(void **state)
{
	struct fixture *f = *state;
	const char *vpc = id_of(f, "CreateVpc", "Vpc.VpcId", "CidrBlock=10.0.0.0/16"), *one, *two, *table,
	           *acl, *igw, *nat, *address, *main;
	const struct plan_table *t;
	struct plan p;

	igw = id_of(f, "CreateInternetGateway", "InternetGateway.InternetGatewayId", "%s", "");
	call(f, "AttachInternetGateway", "VpcId=%s&InternetGatewayId=%s", vpc, igw);
	one = id_of(f, "CreateSubnet", "Subnet.SubnetId", "VpcId=%s&CidrBlock=10.0.1.0/24", vpc);
	two = id_of(f, "CreateSubnet", "Subnet.SubnetId", "VpcId=%s&CidrBlock=10.0.2.0/24", vpc);
	address = id_of(f, "AllocateAddress", "AllocationId", "Domain=vpc");
	nat = id_of(f, "CreateNatGateway", "NatGateway.NatGatewayId", "SubnetId=%s&AllocationId=%s", one,
	            address);
	table = id_of(f, "CreateRouteTable", "RouteTable.RouteTableId", "VpcId=%s", vpc);
	call(f, "AssociateRouteTable", "RouteTableId=%s&SubnetId=%s", table, two);
	call(f, "CreateRoute", "RouteTableId=%s&DestinationCidrBlock=0.0.0.0/0&GatewayId=%s", table, igw);
	call(f, "CreateRoute", "RouteTableId=%s&DestinationCidrBlock=192.0.2.0/24&NatGatewayId=%s", table,
	     nat);
	acl = id_of(f, "CreateNetworkAcl", "NetworkAcl.NetworkAclId", "VpcId=%s", vpc);
	call(f, "CreateNetworkAclEntry",
	     "NetworkAclId=%s&RuleNumber=10&Protocol=6&RuleAction=allow&Egress=false&CidrBlock=10.0.0.0/8&"
	     "PortRange.From=22&PortRange.To=22",
	     acl);
	call(f, "CreateNetworkAclEntry",
	     "NetworkAclId=%s&RuleNumber=5&Protocol=1&RuleAction=deny&Egress=true&CidrBlock=10.9.0.0/"
	     "16&Icmp.Type=8&"
	     "Icmp.Code=-1",
	     acl);
	assert_int_equal(vpc_plan_make(&f->r, vpc, &p, NULL), 0);
	is_whole(f, &p);
	t = table_of(&p, table);
	assert_int_equal(t->routes_count, 2);
	assert_string_equal(t->routes[0].kind, "internet");
	assert_string_equal(t->routes[1].kind, "nat");
	assert_string_equal(t->routes[1].target, nat);
	assert_int_equal(p.nats_count, 1);
	assert_string_not_equal(p.nats[0].public, "");
	assert_int_equal(p.subnets_count, 2);
	main = strcmp(p.tables[0].id, table) ? p.tables[0].id : p.tables[1].id;
	for (unsigned i = 0; i < p.subnets_count; i++)
		assert_string_equal(p.subnets[i].table, strcmp(p.subnets[i].id, two) ? main : table);
	assert_int_equal(p.acls_count, 2);
	for (unsigned i = 0; i < p.acls_count; i++) {
		const struct plan_acl_entry *e = p.acls[i].entries;

		if (strcmp(p.acls[i].id, acl))
			continue;
		assert_true(e[0].egress && !e[0].allow && e[0].protocol == 1 && e[0].icmp_type == 8);
		for (unsigned k = 0; k < p.acls[i].entries_count; k++)
			if (!e[k].egress && e[k].allow)
				assert_true(e[k].protocol == 6 && e[k].from == 22 && e[k].to == 22);
	}
	/* What a route leads to has gone. */
	call(f, "DeleteNatGateway", "NatGatewayId=%s", nat);
	assert_int_equal(vpc_plan_make(&f->r, vpc, &p, NULL), 0);
	assert_string_equal(table_of(&p, table)->routes[1].kind, "blackhole");
	assert_int_equal(p.nats_count, 0);
}

static void changes(void **state)
{
	struct fixture *f = *state;
	struct network_changes *changes = f->cloud.changes = network_changes_new();
	const char *vpc = id_of(f, "CreateVpc", "Vpc.VpcId", "CidrBlock=10.0.0.0/16"), *group;
	char id[64];

	assert_true(network_change_next(changes, id));
	while (network_change_next(changes, id))
		;
	group = id_of(f, "CreateSecurityGroup", "GroupId", "VpcId=%s&GroupName=a&GroupDescription=a", vpc);
	while (network_change_next(changes, id))
		;
	call(f, "AuthorizeSecurityGroupIngress",
	     "GroupId=%s&IpProtocol=tcp&FromPort=1&ToPort=2&CidrIp=0.0.0.0/0", group);
	assert_true(network_change_next(changes, id));
	assert_string_equal(id, vpc);
	assert_false(network_change_next(changes, id));
	call(f, "ModifyVpcAttribute", "VpcId=%s&EnableDnsSupport.Value=false", vpc);
	assert_true(network_change_next(changes, id));
	assert_string_equal(id, vpc);
	call(f, "CreateKeyPair", "KeyName=k");
	assert_false(network_change_next(changes, id));
	/* More than it can hold: any. */
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "vpc-%u", i);
		network_change(&f->cloud, id);
	}
	assert_true(network_change_next(changes, id));
	assert_string_equal(id, "");
	assert_false(network_change_next(changes, id));
	f->cloud.changes = NULL;
	network_changes_free(changes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(addresses_and_names, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(rules, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(routes_and_acls, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(changes, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
