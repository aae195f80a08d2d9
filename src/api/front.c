#include "api/front.h"
#include "api/operator.h"
#include "api/query.h"
#include "api/signature.h"
#include "api/throttle.h"
#include "api/token.h"
#include "api/traffic.h"
#include "api/xml.h"
#include "base/clock.h"
#include "base/record.h"
#include "model/json.h"
#include "region/credential.h"
#include "region/policy.h"
#include "region/region.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct model *const models[] = {&model_ec2, &model_sts};

/* The model of a service; Version decides between models that share a name. */
static const struct model *model_of(const char *service, const char *version)
{
	const struct model *found = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
		if (!strcmp(models[i]->service, service) &&
		    (!found || (version && !strcmp(models[i]->version, version))))
			found = models[i];
	return found;
}

void front_new_id(char id[FRONT_ID])
{
	char hex[33];

	cloud_random_hex(hex, 32);
	snprintf(id, FRONT_ID, "%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17, hex + 20);
}

static bool is_post_form(const struct http_request *h)
{
	const char *type = http_header(h, "content-type");

	return !strcmp(h->method, "POST") &&
	       (!type || !strncasecmp(type, "application/x-www-form-urlencoded", 33));
}

struct call {
	struct front *front;
	const struct http_request *http;
	struct http_answer *answer;
	struct request request;
	struct fault fault;
	struct form form;
	const char *version;
	const char *key_id;  /* that the request claims to be signed with */
	const char *service; /* and the one that it is for */
	bool own;            /* of the operators' service */
};

static bool is_ec2(const struct request *r)
{
	return r->model && r->model->protocol == PROTOCOL_EC2;
}

/* The key that s names: a lasting one, or temporary credentials, whose token must be there. */
static int find_key(struct call *k, const struct signature *s, struct access_key *key)
{
	const struct request *r = &k->request;
	struct credential c;

	if (access_key_find(r->cloud, s->key_id, key))
		return 0;
	if (credential_find(r->cloud, s->key_id, &c) && s->token && !strcmp(s->token, c.token)) {
		if (r->now_ms >= c.expires_ms)
			return is_ec2(r) ? fault_set(&k->fault, "RequestExpired", "Request has expired.")
			                 : fault_set(&k->fault, "ExpiredToken",
			                             "The security token included in the request is "
			                             "expired");
		*key = (struct access_key){0};
		memcpy(key->id, c.id, sizeof(c.id));
		memcpy(key->secret, c.secret, sizeof(c.secret));
		memcpy(key->account, c.account, sizeof(c.account));
		memcpy(key->policy, c.policy, sizeof(c.policy));
		return 0;
	}
	return is_ec2(r) ? fault_set(&k->fault, "AuthFailure",
	                             "AWS was not able to validate the provided access credentials")
	                 : fault_set(&k->fault, "InvalidClientTokenId",
	                             "The security token included in the request is invalid.");
}

static int authenticate(struct call *k, struct signature *s)
{
	struct request *r = &k->request;
	struct access_key key;

	if (signature_read(s, k->http, &k->fault) < 0)
		return -1;
	k->key_id = s->key_id;
	k->service = s->service;
	r->model = model_of(s->service, k->version);
	if (find_key(k, s, &key) < 0 ||
	    signature_check(s, k->http, key.secret, r->now_ms / 1000, &k->fault) < 0)
		return -1;
	r->account = arena_strdup(r->arena, key.account);
	r->key_id = s->key_id;
	r->policy = arena_strdup(r->arena, key.policy);
	r->region = s->region;
	return 0;
}

static int find_action(struct call *k, const struct signature *s, const struct action **action)
{
	struct request *r = &k->request;
	const char *name = form_get(&k->form, "Action");

	if (!r->model)
		return fault_set(&k->fault, "InvalidAction",
		                 "The service '%.64s' is not one of those offered here", s->service);
	if (!name || !*name)
		return fault_set(&k->fault, "MissingAction", "The request must contain the parameter Action");
	r->action = model_action_find(r->model, name);
	if (!r->action)
		return fault_set(&k->fault, "InvalidAction",
		                 "The action %.128s is not valid for this web service.", name);
	*action = action_find(r->model->service, name);
	return 0;
}

static int exceeded(struct call *k)
{
	return fault_set(&k->fault, "RequestLimitExceeded", "Request limit exceeded.");
}

/* Nothing but what every request has: it asks for all there is. */
static bool asks_for_all(const struct form *form)
{
	for (unsigned i = 0; i < form->count; i++) {
		const char *name = form->pairs[i].name;

		if (strcmp(name, "Action") && strcmp(name, "Version") && strcmp(name, "DryRun") &&
		    strncmp(name, "X-Amz-", 6))
			return false;
	}
	return true;
}

static int throttle(struct call *k, const char *action)
{
	const struct request *r = &k->request;
	struct throttle *t = k->front->throttle;

	return !t || throttle_request(t, r->account, r->region, action, asks_for_all(&k->form),
	                              clock_monotonic_ns())
	               ? 0
	               : exceeded(k);
}

static int throttle_own(struct call *k)
{
	const char *action = operator_action(&k->form);

	return action ? throttle(k, action) : 0;
}

static bool has_member(const struct request *r, const char *name)
{
	return model_member_find(r->model, value_shape(r->in), name) >= 0;
}

/* By how many instances it starts, stops or ends. */
static int throttle_instances(struct call *k)
{
	const struct request *r = &k->request;
	const char *action = model_text(r->model, r->action->name);
	struct throttle *t = k->front->throttle;
	s64 count = 0;

	if (!t || r->in->shape == MODEL_NONE)
		return 0;
	if (has_member(r, "MaxCount"))
		count = value_integer(r->in, "MaxCount", 1);
	else if (has_member(r, "InstanceIds"))
		count = value_count(value_get(r->in, "InstanceIds"));
	return throttle_resources(t, r->account, r->region, action, (u64)max(count, (s64)0),
	                          clock_monotonic_ns())
	               ? 0
	               : exceeded(k);
}

static int perform(struct call *k, const struct action *action)
{
	struct request *r = &k->request;
	struct value *in = query_parse(r->arena, r->model, r->action, &k->form, &k->fault);
	bool dry, again;

	if (!in)
		return -1;
	r->in = in;
	if (policy_check(r, r->model->service, model_text(r->model, r->action->name), NULL) < 0)
		return -1;
	r->token = form_get(&k->form, "ClientToken");
	if (query_validate(in, &k->fault) < 0)
		return -1;
	if (!action)
		return fault_set(&k->fault, "UnsupportedOperation",
		                 "The functionality you requested is not available here: %s",
		                 model_text(r->model, r->action->name));
	if (region_ensure(r) < 0)
		return -1;
	dry = in->shape != MODEL_NONE && model_member_find(r->model, value_shape(in), "DryRun") >= 0 &&
	      value_boolean(in, "DryRun", false);
	r->dry_run = dry;
	if (r->action->output != MODEL_NONE)
		r->out = value_new(r->arena, r->model, r->action->output);
	if (!dry) {
		if (token_find(r, &again) < 0)
			return -1;
		if (again)
			return 0;
		if (throttle_instances(k) < 0)
			return -1;
	}
	if (action->fn(r) < 0)
		return -1;
	if (dry)
		return fault_set(&k->fault, "DryRunOperation",
		                 "Request would have succeeded, but DryRun flag is set.");
	token_store(r);
	return 0;
}

static int handle(struct call *k)
{
	const struct http_request *h = k->http;
	const struct action *action = NULL;
	struct request *r = &k->request;
	struct signature s;

	if (strcmp(h->method, "POST") && strcmp(h->method, "GET"))
		return fault_set(&k->fault, "InvalidAction", "The method %.16s is not supported", h->method);
	if (form_parse(&k->form, h->arena, h->query, strlen(h->query)) < 0 ||
	    (is_post_form(h) && form_parse(&k->form, h->arena, h->body, h->body_length) < 0))
		return fault_set(
		        &k->fault, "MalformedQueryString",
		        "The query string contains a syntax error, a zero byte, or too many parameters");
	k->version = form_get(&k->form, "Version");
	if (authenticate(k, &s) < 0)
		return -1;
	k->own = !strcmp(s.service, OPERATOR_SERVICE);
	if (k->own && throttle_own(k) < 0)
		return -1;
	if (k->own)
		return operator_perform(r, &k->form, &k->answer->body);
	if (find_action(k, &s, &action) < 0 || throttle(k, model_text(r->model, r->action->name)) < 0)
		return -1;
	return perform(k, action);
}

/* For programs of ours: the same answers, as JSON. */
static bool wants_json(const struct http_request *h)
{
	const char *accept = http_header(h, "accept");

	return accept && !strncmp(accept, "application/json", 16);
}

static void answer_json(struct call *k, bool good)
{
	struct buffer *b = &k->answer->body;

	k->answer->content_type = "application/json";
	if (good && k->own) /* written already */
		return;
	buffer_clear(b);
	if (good) {
		if (k->request.out)
			json_write(b, k->request.out);
		else
			buffer_text(b, "{}");
		return;
	}
	buffer_text(b, "{\"Code\":");
	json_write_text(b, k->fault.code, strlen(k->fault.code));
	buffer_text(b, ",\"Message\":");
	json_write_text(b, k->fault.message, strlen(k->fault.message));
	buffer_char(b, '}');
}

/* In the form that its client reads: also a client of a service that is not here, which may speak a protocol
 * that is not either. */
static void answer_fault(struct call *k)
{
	struct buffer *b = &k->answer->body;
	bool other = k->service && !k->request.model && !form_get(&k->form, "Action");

	k->answer->status = k->fault.status;
	if (k->own || wants_json(k->http)) {
		answer_json(k, false);
	} else if (other && strcmp(k->service, "s3")) { /* the JSON protocols */
		k->answer->content_type = "application/x-amz-json-1.1";
		buffer_text(b, "{\"__type\":");
		json_write_text(b, k->fault.code, strlen(k->fault.code));
		buffer_text(b, ",\"message\":");
		json_write_text(b, k->fault.message, strlen(k->fault.message));
		buffer_char(b, '}');
	} else if (other) {
		xml_fault_rest(b, &k->fault, k->request.id);
	} else {
		xml_fault(b, k->request.model, &k->fault, k->request.id);
	}
}

void front_begin(struct front *a)
{
	database_begin(a->cloud->db);
}

static void take_note(struct call *k, struct http_note *n)
{
	const struct request *r = &k->request;

	*n = (struct http_note){.id = r->id,
	                        .account = r->account,
	                        .key_id = k->key_id,
	                        .region = r->region,
	                        .peer = k->http->peer};
	if (k->own) {
		n->service = OPERATOR_SERVICE;
		n->action = operator_action(&k->form);
	} else if (r->model) {
		n->service = r->model->service;
		n->action = r->action ? model_text(r->model, r->action->name) : NULL;
	}
	if (k->fault.status)
		memcpy(n->code, k->fault.code, sizeof(n->code));
}

void front_handle(struct front *a, const struct http_request *http, struct http_answer *answer)
{
	struct call k = {.front = a, .http = http, .answer = answer};
	struct request *r = &k.request;
	char *id = arena_alloc(http->arena, FRONT_ID);

	front_new_id(id);
	*r = (struct request){.cloud = a->cloud,
	                      .arena = http->arena,
	                      .fault = &k.fault,
	                      .id = id,
	                      .now_ms = cloud_now_ms()};
	database_mark(a->cloud->db);
	buffer_clear(&answer->body);
	answer->content_type = "text/xml;charset=UTF-8";
	if (handle(&k) < 0) {
		database_take_back(a->cloud->db);
		answer_fault(&k);
	} else {
		database_release_mark(a->cloud->db);
		answer->status = 200;
		if (k.own || wants_json(http))
			answer_json(&k, true);
		else
			xml_answer(&answer->body, r->model, r->action, k.version, r->id, r->out);
	}
	take_note(&k, &answer->note);
}

/* Nothing that a client sent but names: no parameters, no signature. */
static void log_request(const struct http_answer *answer, u64 ns)
{
	const struct http_note *n = &answer->note;
	struct record line;

	if (!record_begin(&line, LOG_INFO, "request"))
		return;
	record_text(&line, "request_id", n->id);
	record_text(&line, "service", n->service);
	record_text(&line, "action", n->action);
	record_text(&line, "region", n->region);
	record_text(&line, "account", n->account);
	record_text(&line, "key", n->key_id);
	record_text(&line, "address", n->peer);
	record_integer(&line, "status", answer->status);
	record_text(&line, "code", *n->code ? n->code : NULL);
	record_milliseconds(&line, "ms", ns);
	record_end(&line);
}

void front_answered(struct front *a, const struct http_answer *answer, u64 ns)
{
	const struct http_note *n = &answer->note;

	traffic_add(a->traffic, n->service ? n->service : "other", n->action ? n->action : "invalid",
	            *n->code ? n->code : "OK", ns);
	log_request(answer, ns);
}

int front_commit(struct front *a, struct error *e)
{
	return database_commit(a->cloud->db, e);
}

static void refuse(struct http_answer *answer, const struct fault *f)
{
	char id[FRONT_ID];

	front_new_id(id);
	buffer_clear(&answer->body);
	memcpy(answer->note.code, f->code, sizeof(f->code));
	answer->status = f->status;
	answer->content_type = "text/xml;charset=UTF-8";
	xml_fault(&answer->body, &model_ec2, f, id);
}

void front_unavailable(struct http_answer *answer)
{
	struct fault f;

	fault_set(&f, "ServiceUnavailable",
	          "The state of the region cannot be written now; nothing was changed");
	refuse(answer, &f);
}

void front_malformed(struct http_answer *answer, const char *why)
{
	struct fault f;

	fault_set(&f, "MalformedHttpRequestException", "%s", why);
	answer->note = (struct http_note){0};
	refuse(answer, &f);
}
