/* A VPC as its services know it, for unit tests and fuzz targets: one instance with two interfaces, the
 * second of IPv6 alone. */
#pragma once

#include "net/config.h"

#include <stdlib.h>
#include <string.h>

static const char net_fixture[] =
        "{\"plan\": {\"vpc\": \"vpc-1\", \"region\": \"eu-west-1\", \"generation\": 7, \"dns\": true,"
        " \"cidrs\": [\"10.0.0.0/16\", \"10.9.16.0/20\"], \"cidrs6\": [\"2001:db8::/56\"],"
        " \"dhcp\": {\"domain\": \"example.org\", \"dns\": [\"AmazonProvidedDNS\", \"10.0.0.9\", "
        "\"2001:db8::9\"],"
        " \"ntp\": [\"169.254.169.123\", \"fd00:ec2::123\"], \"netbios\": [\"10.0.0.8\"], \"netbios_type\": "
        "2},"
        " \"subnets\": [{\"id\": \"subnet-1\", \"cidr\": \"10.0.0.0/20\", \"cidr6\": \"2001:db8:0:1::/64\"},"
        " {\"id\": \"subnet-2\", \"cidr6\": \"2001:db8:0:2::/64\"}],"
        " \"interfaces\": [{\"id\": \"eni-1\", \"tap\": \"eni1\", \"instance\": \"i-1\", \"subnet\": "
        "\"subnet-1\","
        " \"mac\": \"02:00:00:00:00:05\", \"name\": \"ip-10-0-0-5\", \"addresses\": [\"10.0.0.5\", "
        "\"10.0.0.6\"],"
        " \"addresses6\": [\"2001:db8:0:1::5\", \"2001:db8:0:1::6\"]},"
        " {\"id\": \"eni-2\", \"tap\": \"eni2\", \"instance\": \"i-1\", \"subnet\": \"subnet-2\","
        " \"mac\": \"02:00:00:00:00:06\", \"addresses6\": [\"2001:db8:0:2::5\"]}],"
        " \"names\": [{\"name\": \"ip-10-0-0-5.eu-west-1.compute.internal\", \"address\": \"10.0.0.5\", "
        "\"reverse\": true},"
        " {\"name\": \"i-1.eu-west-1.compute.internal\", \"address\": \"10.0.0.5\"},"
        " {\"name\": \"i-1.eu-west-1.compute.internal\", \"address\": \"2001:db8:0:1::5\", \"reverse\": "
        "true},"
        " {\"name\": \"ec2-198-18-0-1.eu-west-1.compute.amazonaws.com\", \"address\": \"10.0.0.5\"}]},"
        " \"instances\": {\"i-1\": {\"options\": {\"endpoint\": true, \"tokens\": \"optional\", \"hops\": 2},"
        " \"secret\": \"000102030405060708090a0b0c0d0e0f\", \"user_data\": \"AAEC/w==\","
        " \"tree\": {\"meta-data\": {\"instance-id\": \"i-1\", \"b\": {\"leaf\": \"\"}, \"a-b\": \"\\u00e9\","
        " \"public-keys\": {\"0=my-key\": {\"openssh-key\": \"ssh-rsa AAAA\"}}},"
        " \"dynamic\": {\"instance-identity\": {\"document\": \"{}\"}}}},"
        " \"i-2\": {\"options\": {\"endpoint\": false}}, \"i-3\": {\"options\": {\"tokens\": \"required\"},"
        " \"tree\": {\"meta-data\": {\"instance-id\": \"i-3\"}}}}}";

static inline struct config *net_fixture_new(void)
{
	struct error e;
	struct config *c = config_parse(net_fixture, sizeof(net_fixture) - 1, &e);

	if (!c)
		abort();
	return c;
}
