/* Permissions on network interfaces: that another account attaches one to its instance. Children of the
 * interface. */
#include "region/describe.h"
#include "region/network_interface.h"

#include <ctype.h>
#include <string.h>

static const char *const filters[] = {"network-interface-permission.network-interface-permission-id",
                                      "NetworkInterfacePermissionId",
                                      "network-interface-permission.network-interface-id",
                                      "NetworkInterfaceId",
                                      "network-interface-permission.aws-account-id",
                                      "AwsAccountId",
                                      "network-interface-permission.aws-service",
                                      "AwsService",
                                      "network-interface-permission.permission",
                                      "Permission",
                                      NULL};

RESOURCE_KIND(network_interface_permission_kind) = {
        .name = "network-interface-permission",
        .prefix = "eni-perm-",
        .shape = "NetworkInterfacePermission",
        .id = "NetworkInterfacePermissionId",
        .noun = "PermissionID",
        .filters = filters,
};

ACTION(ec2, CreateNetworkInterfacePermission)
{
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");
	const char *account = value_string(r->in, "AwsAccountId"), *what = value_string(r->in, "Permission");
	struct resource *permission, **list;

	if (!interface)
		return -1;
	if (value_get(r->in, "AwsService"))
		return request_fail(r, "UnsupportedOperation",
		                    "Permissions for services are not available here; use AwsAccountId");
	if (!account)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter AwsAccountId");
	if (strlen(account) != 12 || strspn(account, "0123456789") != 12)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.32s) for parameter AwsAccountId is invalid", account);
	for (list = resource_list(r, &network_interface_permission_kind, interface->id); *list; list++)
		if (!strcmp(value_string((*list)->doc, "AwsAccountId"), account) &&
		    !strcmp(value_string((*list)->doc, "Permission"), what))
			return request_fail(r, "InvalidPermission.Duplicate", "The permission exists: %s",
			                    (*list)->id);
	permission = resource_new(r, &network_interface_permission_kind);
	permission->parent = interface->id;
	value_set_string(permission->doc, "NetworkInterfaceId", interface->id);
	value_set_string(permission->doc, "AwsAccountId", account);
	value_set_string(permission->doc, "Permission", what);
	value_set_string(value_open(permission->doc, "PermissionState"), "State", "granted");
	resource_insert(r, permission);
	value_put(r->out, "InterfacePermission", permission->doc);
	return 0;
}

ACTION(ec2, DeleteNetworkInterfacePermission)
{
	struct resource *permission =
	        resource_of(r, &network_interface_permission_kind, "NetworkInterfacePermissionId");

	if (!permission)
		return -1;
	resource_delete(r, permission);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, DescribeNetworkInterfacePermissions)
{
	static const struct describe d = {.kind = &network_interface_permission_kind,
	                                  .list = "NetworkInterfacePermissions",
	                                  .ids = "NetworkInterfacePermissionIds"};

	return describe_run(r, &d);
}
