#include "region/flow_log.h"
#include "region/describe.h"
#include "region/network_interface.h"
#include "region/subnet.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <string.h>

static const char *const filters[] = {"deliver-log-status",
                                      "DeliverLogsStatus",
                                      "log-destination-type",
                                      "LogDestinationType",
                                      "flow-log-id",
                                      "FlowLogId",
                                      "log-group-name",
                                      "LogGroupName",
                                      "resource-id",
                                      "ResourceId",
                                      "traffic-type",
                                      "TrafficType",
                                      NULL};

RESOURCE_KIND(flow_log_kind) = {
        .name = "vpc-flow-log",
        .prefix = "fl-",
        .shape = "FlowLog",
        .id = "FlowLogId",
        .noun = "FlowLogId",
        .filters = filters,
};

enum { LOGS_MAX = 16 /* of a resource */, RESOURCES_MAX = 1000 };

#define FORMAT                                                                                              \
	"${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} " \
	"${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

void flow_log_resource_gone(struct request *r, const char *id)
{
	for (struct resource **list = resource_list(r, &flow_log_kind, id); *list; list++)
		resource_delete(r, *list);
}

/* Where the logs are to go (EC2 API Reference: CreateFlowLogs). */
static int check_destination(struct request *r)
{
	const char *type = value_string(r->in, "LogDestinationType"),
	           *group = value_string(r->in, "LogGroupName");
	const char *destination = value_string(r->in, "LogDestination");

	if (type && !strcmp(type, "kinesis-data-firehose"))
		return request_fail(r, "UnsupportedOperation", "Flow logs to Kinesis are not available here");
	if (type && !strcmp(type, "s3")) {
		if (group)
			return request_fail(r, "InvalidParameter",
			                    "LogGroupName is not for the log destination type s3");
		if (!destination)
			return request_fail(r, "InvalidParameter",
			                    "LogDestination can't be empty if LogGroupName is not provided.");
		if (strncmp(destination, "arn:aws", 7))
			return request_fail(r, "InvalidParameter", "LogDestination is not an ARN: %.100s",
			                    destination);
		return 0;
	}
	if (group && destination)
		return request_fail(r, "InvalidParameter",
		                    "Please only provide LogGroupName or only provide LogDestination.");
	if (!group && !destination)
		return request_fail(r, "InvalidParameter",
		                    "LogDestination can't be empty if LogGroupName is not provided.");
	if (!value_get(r->in, "DeliverLogsPermissionArn"))
		return request_fail(r, "InvalidParameter",
		                    "DeliverLogsPermissionArn can't be empty if LogDestinationType is "
		                    "cloud-watch-logs.");
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return a ? b && !strcmp(a, b) : !b;
}

static struct resource *new_log(struct request *r, const struct resource *of)
{
	static const char *const texts[] = {"DeliverLogsPermissionArn", "DeliverCrossAccountRole",
	                                    "LogGroupName", "LogDestination"};
	const char *type = value_string(r->in, "LogDestinationType"),
	           *traffic = value_string(r->in, "TrafficType");
	const struct value *options = value_get(r->in, "DestinationOptions");
	struct resource *log = resource_new(r, &flow_log_kind);

	log->parent = of->id;
	value_set_string(log->doc, "LogFormat", FORMAT);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		if (value_get(r->in, texts[i]))
			value_set_string(log->doc, texts[i], value_string(r->in, texts[i]));
	value_set_time(log->doc, "CreationTime", r->now_ms);
	value_set_string(log->doc, "FlowLogStatus", "ACTIVE");
	value_set_string(log->doc, "ResourceId", of->id);
	value_set_string(log->doc, "TrafficType", traffic ? traffic : "ALL");
	value_set_string(log->doc, "LogDestinationType", type ? type : "cloud-watch-logs");
	value_set_integer(log->doc, "MaxAggregationInterval",
	                  value_integer(r->in, "MaxAggregationInterval", 600));
	if (options) {
		struct value *out = value_open(log->doc, "DestinationOptions");
		const char *format = value_string(options, "FileFormat");

		value_set_string(out, "FileFormat", format ? format : "plain-text");
		value_set_boolean(out, "HiveCompatiblePartitions",
		                  value_boolean(options, "HiveCompatiblePartitions", false));
		value_set_boolean(out, "PerHourPartition", value_boolean(options, "PerHourPartition", false));
	}
	return log;
}

/* -1 with r->fault. */
static int create(struct request *r, const struct resource *of)
{
	struct resource *log = new_log(r, of), **list;
	unsigned count = 0;

	for (list = resource_list(r, &flow_log_kind, of->id); *list; list++, count++)
		if (same_text(value_string((*list)->doc, "LogGroupName"),
		              value_string(log->doc, "LogGroupName")) &&
		    same_text(value_string((*list)->doc, "LogDestination"),
		              value_string(log->doc, "LogDestination")) &&
		    same_text(value_string((*list)->doc, "TrafficType"),
		              value_string(log->doc, "TrafficType")))
			return request_fail(
			        r, "FlowLogAlreadyExists",
			        "There is an existing Flow Log with the same configuration and log "
			        "destination.");
	if (count >= LOGS_MAX)
		return request_fail(r, "FlowLogsLimitExceeded", "A resource has at most %d flow logs",
		                    LOGS_MAX);
	if (tag_specifications(r, log, NULL) < 0)
		return -1;
	resource_insert(r, log);
	value_append_string(value_open(r->out, "FlowLogIds"), log->id);
	return 0;
}

static void unsuccessful(struct request *r, const char *id)
{
	struct value *item = value_append(value_open(r->out, "Unsuccessful"));
	struct value *error = value_open(item, "Error");

	value_set_string(item, "ResourceId", id);
	value_set_string(error, "Code", r->fault->code);
	value_set_string(error, "Message", r->fault->message);
	*r->fault = (struct fault){0};
}

ACTION(ec2, CreateFlowLogs)
{
	static const struct {
		const char *type;
		const struct resource_kind *kind;
	} kinds[] = {
	        {"VPC", &vpc_kind}, {"Subnet", &subnet_kind}, {"NetworkInterface", &network_interface_kind}};
	const struct value *ids = value_get(r->in, "ResourceIds");
	const char *format = value_string(r->in, "LogFormat");
	s64 interval = value_integer(r->in, "MaxAggregationInterval", 600);
	const struct resource_kind *kind = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].type, value_string(r->in, "ResourceType")))
			kind = kinds[i].kind;
	if (!kind)
		return request_fail(r, "UnsupportedOperation", "There are no transit gateways here");
	if (!value_count(ids) || ids->count > RESOURCES_MAX)
		return request_fail(r, "InvalidParameter", "A request has 1 to %d resources", RESOURCES_MAX);
	if (!value_get(r->in, "TrafficType"))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter TrafficType");
	if (interval != 60 && interval != 600)
		return request_fail(r, "InvalidParameter",
		                    "Value (%lld) for parameter MaxAggregationInterval is invalid: 60 or 600",
		                    (long long)interval);
	if (format && strcmp(format, FORMAT))
		return request_fail(r, "UnsupportedOperation",
		                    "Flow logs are in the default format here: LogFormat can be %s", FORMAT);
	if (check_destination(r) < 0)
		return -1;
	value_open(r->out, "FlowLogIds");
	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; i < ids->count; i++) {
		struct resource *of = resource_get(r, kind, value_item(ids, i)->text);

		if (!of)
			unsuccessful(r, value_item(ids, i)->text);
		else if (create(r, of) < 0)
			return -1;
	}
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

ACTION(ec2, DeleteFlowLogs)
{
	const struct value *ids = value_get(r->in, "FlowLogIds");

	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *log = resource_get(r, &flow_log_kind, value_item(ids, i)->text);

		if (log)
			resource_delete(r, log);
		else
			unsuccessful(r, value_item(ids, i)->text);
	}
	return 0;
}

ACTION(ec2, DescribeFlowLogs)
{
	static const struct describe d = {.kind = &flow_log_kind, .list = "FlowLogs", .ids = "FlowLogIds"};

	return describe_run(r, &d);
}
