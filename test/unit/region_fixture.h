/*
 * A region of its own in an empty folder, and a request within a transaction, for tests of what is behind
 * actions. The transaction is committed, which fails if any query did. Include it once, in the test's only
 * file.
 */
#pragma once

#include "region/resource.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	char data[64];
	struct cloud cloud;
	struct arena arena;
	struct fault fault;
	struct request r;
};

static int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	strcpy(f->data, "/tmp/insula-unit-XXXXXX");
	assert_non_null(mkdtemp(f->data));
	assert_int_equal(cloud_open(&f->cloud, &(struct cloud_options){.data = f->data}, &e), 0);
	arena_init(&f->arena);
	f->r = (struct request){.cloud = &f->cloud,
	                        .arena = &f->arena,
	                        .model = &model_ec2,
	                        .fault = &f->fault,
	                        .account = f->cloud.account,
	                        .region = "us-east-1",
	                        .id = "test"};
	database_begin(f->cloud.db);
	*state = f;
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];
	struct error e;
	int result = database_commit(f->cloud.db, &e);

	cloud_close(&f->cloud);
	arena_release(&f->arena);
	snprintf(command, sizeof(command), "rm -rf '%s'", f->data);
	if (system(command) != 0)
		result = -1;
	free(f);
	return result;
}
