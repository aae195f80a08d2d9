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
};
const unsigned schema_steps_count = sizeof(schema_steps) / sizeof(schema_steps[0]);
