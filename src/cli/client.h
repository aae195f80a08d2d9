/*
 * The region's API, for the verbs: signed requests, answers as JSON.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#include <jansson.h>

struct client {
	char endpoint[256], region[64], key[129], secret[129];
	void *curl;
};

/* Where, and with which key: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if they are set,
 * else what the data folder says; region: AWS_DEFAULT_REGION, else us-east-1. */
int client_open(struct client *c, const char *data, struct error *e);
/* The region of that folder, whatever the environment says. */
int client_open_data(struct client *c, const char *data, struct error *e);
void client_close(struct client *c);

/* Does an EC2 action; parameters are pairs of name and value, NULL at the end. NULL with e: the region cannot
 * be reached, or refuses (its message). */
json_t *client_call(struct client *c, struct error *e, const char *action, ...) __attribute__((sentinel));
json_t *client_call_list(struct client *c, struct error *e, const char *action, const char *const *pairs);

/* The same for an action of the operators' service (api/operator.h). */
json_t *client_operate(struct client *c, struct error *e, const char *action, const char *const *pairs);

/* "" if it is not there. Path: names with dots, a number for an item. */
const char *client_text(const json_t *v, const char *path);
/* For programs: to stdout, a line for each member. */
void client_print(const json_t *v);
