#include "region/schema.h"

const char *const schema_steps[] = {
        /* A resource is a document in the API's shape of its kind. seq orders resources by age; parent is
         * what it goes away with or is listed by (a subnet's VPC); state: what the scheduler and reconcilers
         * look for. */
        "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
        "CREATE TABLE access_key (id TEXT PRIMARY KEY, secret TEXT NOT NULL, account TEXT NOT NULL,"
        " created BIGINT NOT NULL);"
        "CREATE TABLE region (account TEXT NOT NULL, name TEXT NOT NULL, created BIGINT NOT NULL,"
        " PRIMARY KEY (account, name));"
        "CREATE TABLE resource (id TEXT PRIMARY KEY, seq BIGINT NOT NULL, kind TEXT NOT NULL,"
        " account TEXT NOT NULL, region TEXT NOT NULL, parent TEXT NOT NULL, state TEXT NOT NULL,"
        " created BIGINT NOT NULL, doc TEXT NOT NULL);"
        "CREATE INDEX resource_by_age ON resource (kind, account, region, seq);"
        "CREATE INDEX resource_by_parent ON resource (parent, kind);"
        "CREATE INDEX resource_by_state ON resource (kind, state);"
        "CREATE TABLE tag (resource TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
        " kind TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, PRIMARY KEY (resource, name));"
        "CREATE INDEX tag_by_region ON tag (account, region, name);"
        "CREATE TABLE client_token (account TEXT NOT NULL, region TEXT NOT NULL, action TEXT NOT NULL,"
        " token TEXT NOT NULL, digest TEXT NOT NULL, answer TEXT NOT NULL, created BIGINT NOT NULL,"
        " PRIMARY KEY (account, region, action, token));",

        /* machine: what stands behind an instance. wanted and is: running, stopped, terminated; is also
         * pending, stopping, shutting-down. attributes: a document of shape InstanceAttribute. */
        "CREATE TABLE counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL);"
        "INSERT INTO counter VALUES ('seq', 0);"
        "CREATE TABLE host (id TEXT PRIMARY KEY, zone TEXT NOT NULL, simulated BIGINT NOT NULL,"
        " state TEXT NOT NULL, vcpus BIGINT NOT NULL, memory BIGINT NOT NULL, used_vcpus BIGINT NOT NULL,"
        " used_memory BIGINT NOT NULL, seen BIGINT NOT NULL);"
        "CREATE INDEX host_by_zone ON host (zone, state);"
        "CREATE TABLE machine (instance TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,"
        " host TEXT NOT NULL, vcpus BIGINT NOT NULL, memory BIGINT NOT NULL, reservation TEXT NOT NULL,"
        " placement_group TEXT NOT NULL, wanted TEXT NOT NULL, status TEXT NOT NULL, deadline BIGINT NOT "
        "NULL,"
        " attributes TEXT NOT NULL, kernel TEXT NOT NULL, initrd TEXT NOT NULL, disk TEXT NOT NULL,"
        " cmdline TEXT NOT NULL);"
        "CREATE INDEX machine_by_status ON machine (host, status, wanted);"
        "CREATE TABLE machine_image (id TEXT PRIMARY KEY, kernel TEXT NOT NULL, initrd TEXT NOT NULL,"
        " disk TEXT NOT NULL, cmdline TEXT NOT NULL);",

        /* Who uses whom, what documents do not show, and which addresses of a block are taken: addresses in
         * hexadecimal, in their order; used and next (where to look for a free one) of IPv4. */
        "CREATE TABLE link (source TEXT NOT NULL, what TEXT NOT NULL, target TEXT NOT NULL,"
        " PRIMARY KEY (source, what, target));"
        "CREATE INDEX link_by_target ON link (target, what);"
        "CREATE TABLE property (resource TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
        " PRIMARY KEY (resource, name));"
        "CREATE TABLE address_space (id TEXT PRIMARY KEY, used BIGINT NOT NULL, next TEXT NOT NULL);"
        "CREATE TABLE space_address (space TEXT NOT NULL, address TEXT NOT NULL, holder TEXT NOT NULL,"
        " PRIMARY KEY (space, address));",

        /* Metering (usage.h): ended 0: it runs; up, boot: when it started by the clock that nobody sets. */
        "CREATE TABLE usage (instance TEXT NOT NULL, run BIGINT NOT NULL, account TEXT NOT NULL,"
        " region TEXT NOT NULL, zone TEXT NOT NULL, type TEXT NOT NULL, vcpus BIGINT NOT NULL,"
        " memory BIGINT NOT NULL, started BIGINT NOT NULL, ended BIGINT NOT NULL, up BIGINT NOT NULL,"
        " boot TEXT NOT NULL, PRIMARY KEY (instance, run));"
        "CREATE INDEX usage_by_end ON usage (ended);",

        "CREATE TABLE tally (instance TEXT PRIMARY KEY, state TEXT NOT NULL, type TEXT NOT NULL,"
        " zone TEXT NOT NULL);"
        "CREATE INDEX tally_by_kind ON tally (state, type, zone);",

        /* Files of volumes and snapshots (block_file.h). source: an id or a path, "" for none. */
        "CREATE TABLE block_file (id TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,"
        " source TEXT NOT NULL, bytes BIGINT NOT NULL, wanted TEXT NOT NULL, status TEXT NOT NULL);"
        "CREATE INDEX block_file_by_status ON block_file (status);"
        "CREATE INDEX block_file_by_source ON block_file (source);",

        /* Simulated hosts that do not answer; noticed: when they were found to be lost. */
        "CREATE TABLE silent_host (id TEXT PRIMARY KEY, since BIGINT NOT NULL, noticed BIGINT NOT NULL);",

        /* What filters look for (scan.h): key1 to key3 are what a kind says in `indexed`; tags know the age
         * of their resource. An instance's parent is its reservation. */
        "ALTER TABLE resource ADD COLUMN key1 TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE resource ADD COLUMN key2 TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE resource ADD COLUMN key3 TEXT NOT NULL DEFAULT '';"
        "CREATE INDEX resource_by_key1 ON resource (key1, kind, account, region, seq) WHERE key1 <> '';"
        "CREATE INDEX resource_by_key2 ON resource (key2, kind, account, region, seq) WHERE key2 <> '';"
        "CREATE INDEX resource_by_key3 ON resource (key3, kind, account, region, seq) WHERE key3 <> '';"
        "DROP INDEX resource_by_state;"
        "CREATE INDEX resource_by_state ON resource (kind, account, region, state, seq);"
        "UPDATE resource SET parent = (SELECT reservation FROM machine WHERE instance = id) "
        "WHERE kind = 'instance' AND id IN (SELECT instance FROM machine);"
        "ALTER TABLE tag ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;"
        "UPDATE tag SET seq = (SELECT seq FROM resource WHERE id = tag.resource) "
        "WHERE resource IN (SELECT id FROM resource);"
        "DROP INDEX tag_by_region;"
        "CREATE INDEX tag_by_value ON tag (account, region, name, value, kind, seq);"
        "CREATE INDEX machine_to_end ON machine (instance) WHERE wanted = 'terminated' AND "
        "status <> 'terminated';",

        /* Hosts that are one account's alone (tenancy.h); dedicated: the id of a dedicated host, or "". */
        "CREATE TABLE host_hold (host TEXT PRIMARY KEY, account TEXT NOT NULL,"
        " dedicated TEXT NOT NULL);"
        "CREATE INDEX host_hold_by_dedicated ON host_hold (dedicated);",

        /* Placement (placement.h). */
        "ALTER TABLE host ADD COLUMN rack BIGINT NOT NULL DEFAULT 0;"
        "ALTER TABLE machine ADD COLUMN partition BIGINT NOT NULL DEFAULT 0;"
        "CREATE INDEX host_by_use ON host (state, zone, used_vcpus, id);"
        "CREATE INDEX host_by_use_anywhere ON host (state, used_vcpus, id);"
        "CREATE INDEX machine_by_group ON machine (placement_group, account, region, host, partition) "
        "WHERE placement_group <> '';",

        /* What a key may do (policy.h); "": all. */
        "ALTER TABLE access_key ADD COLUMN policy TEXT NOT NULL DEFAULT '';",

        /* CPU credits (cpu_credit.h), in microseconds of CPU time; cpu: what `run` had taken at the last
         * step, which was at wall, up, boot. credit_launch: starts that were given launch credits. */
        "CREATE TABLE cpu_credit (instance TEXT PRIMARY KEY, earned BIGINT NOT NULL,"
        " launch BIGINT NOT NULL, surplus BIGINT NOT NULL, charged BIGINT NOT NULL, used BIGINT NOT NULL,"
        " quota BIGINT NOT NULL, run TEXT NOT NULL, cpu BIGINT NOT NULL, wall BIGINT NOT NULL,"
        " up BIGINT NOT NULL, boot TEXT NOT NULL);"
        "CREATE TABLE credit_launch (account TEXT NOT NULL, region TEXT NOT NULL, at BIGINT NOT NULL);"
        "CREATE INDEX credit_launch_by_account ON credit_launch (account, region);"
        "CREATE INDEX credit_launch_by_age ON credit_launch (at);",

        /* When instances were terminated (termination.h). */
        "CREATE TABLE termination (instance TEXT PRIMARY KEY, at BIGINT NOT NULL);"
        "CREATE INDEX termination_by_age ON termination (at);"
        "INSERT INTO termination SELECT id, COALESCE((SELECT MAX(ended) FROM usage WHERE instance = id), 0) "
        "FROM resource WHERE kind = 'instance' AND state = 'terminated';",

        "CREATE INDEX tag_by_name ON tag (account, region, name, kind, seq);",

        /* Reserved capacity (capacity_reservation.h): those that have not ended; ends 0: never. instance: who
         * is in a slot, "" for nobody. */
        "CREATE TABLE capacity_reservation (id TEXT PRIMARY KEY, account TEXT NOT NULL,"
        " region TEXT NOT NULL, zone TEXT NOT NULL, type TEXT NOT NULL, open BIGINT NOT NULL,"
        " ends BIGINT NOT NULL);"
        "CREATE INDEX capacity_reservation_by_type ON capacity_reservation (account, region, type, open);"
        "CREATE INDEX capacity_reservation_by_end ON capacity_reservation (ends) WHERE ends > 0;"
        "CREATE TABLE capacity_slot (reservation TEXT NOT NULL, slot BIGINT NOT NULL, host TEXT NOT NULL,"
        " vcpus BIGINT NOT NULL, memory BIGINT NOT NULL, instance TEXT NOT NULL,"
        " PRIMARY KEY (reservation, slot));"
        "CREATE INDEX capacity_slot_by_instance ON capacity_slot (instance) WHERE instance <> '';"
        "CREATE INDEX capacity_slot_free ON capacity_slot (reservation, slot) WHERE instance = '';",

        /* Elastic IPs that are offered to other accounts (address_transfer.c); accepted 0: not yet. */
        "CREATE TABLE address_transfer (allocation TEXT PRIMARY KEY, address TEXT NOT NULL,"
        " account TEXT NOT NULL, region TEXT NOT NULL, target TEXT NOT NULL, expires BIGINT NOT NULL,"
        " accepted BIGINT NOT NULL);"
        "CREATE INDEX address_transfer_by_account ON address_transfer (account, region, allocation);",

        /* Root volumes that are being replaced (root_volume.h). */
        "CREATE TABLE root_replacement (task TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,"
        " instance TEXT NOT NULL, volume TEXT NOT NULL, remove BIGINT NOT NULL);"
        "CREATE UNIQUE INDEX root_replacement_by_instance ON root_replacement (instance);",

        /* Temporary credentials of instances' roles (credential.h). */
        "CREATE TABLE credential (id TEXT PRIMARY KEY, secret TEXT NOT NULL, token TEXT NOT NULL,"
        " account TEXT NOT NULL, role TEXT NOT NULL, instance TEXT NOT NULL, policy TEXT NOT NULL,"
        " made BIGINT NOT NULL, expires BIGINT NOT NULL);"
        "CREATE INDEX credential_by_instance ON credential (instance, role, policy, expires);"
        "CREATE INDEX credential_by_age ON credential (expires);",

        /* Attachments that are on their way, of machines that run (volume_plug.h). */
        ("CREATE TABLE volume_plug (volume TEXT NOT NULL, instance TEXT NOT NULL, account TEXT NOT NULL,"
         " region TEXT NOT NULL, what TEXT NOT NULL, PRIMARY KEY (volume, instance));"),
};
const unsigned schema_steps_count = sizeof(schema_steps) / sizeof(schema_steps[0]);
