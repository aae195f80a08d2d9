#include "api/token.h"
#include "api/digest.h"
#include "model/json.h"

#include <string.h>

/* The token of the request, NULL if it has none. */
static const char *token_of(const struct request *r)
{
	const struct value *in = r->in;

	if (in->shape == MODEL_NONE)
		return r->token;
	for (unsigned i = 0; i < value_shape(in)->count; i++) {
		const struct model_member *member = model_member(r->model, value_shape(in), i);
		const struct value *v = value_at(in, i);

		if (v && v->count &&
		    ((member->flags & MEMBER_TOKEN) ||
		     !strcmp(model_text(r->model, member->name), "ClientToken")))
			return v->text;
	}
	return r->token;
}

/* Of all parameters, as a text. */
static const char *digest_of(const struct request *r)
{
	struct buffer b = {0};
	char *text = arena_alloc(r->arena, DIGEST_HEX);

	json_write(&b, r->in);
	digest_sha256(text, buffer_str(&b), b.length);
	buffer_release(&b);
	return text;
}

int token_find(struct request *r, bool *again)
{
	const char *token = token_of(r), *name = model_text(r->model, r->action->name);
	struct query *q;
	int result = 0;

	*again = false;
	if (!token)
		return 0;
	q = database_query(r->cloud->db, "SELECT digest, answer FROM client_token WHERE account = $1 "
	                                 "AND region = $2 AND action = $3 AND token = $4 AND created > $5");
	query_text(query_text(query_text(query_text(q, r->account), r->region), name), token);
	query_integer(q, r->now_ms - TOKEN_AGE_MS);
	if (query_row(q)) {
		if (strcmp(query_column_text(q, 0), digest_of(r))) {
			result = request_fail(
			        r, "IdempotentParameterMismatch",
			        "The client token '%.100s' was used before, with other parameters", token);
		} else {
			*again = true;
			if (r->action->output != MODEL_NONE)
				r->out = json_parse(r->arena, r->model, r->action->output,
				                    query_column_text(q, 1), query_column_length(q, 1));
		}
	}
	query_end(q);
	return result;
}

void token_store(struct request *r)
{
	const char *token = token_of(r);
	struct buffer b = {0};
	struct query *q;

	if (!token)
		return;
	if (r->out)
		json_write(&b, r->out);
	q = database_query(r->cloud->db, "INSERT INTO client_token VALUES ($1, $2, $3, $4, $5, $6, $7) "
	                                 "ON CONFLICT (account, region, action, token) DO UPDATE "
	                                 "SET digest = $5, answer = $6, created = $7");
	query_text(query_text(q, r->account), r->region);
	query_text(query_text(q, model_text(r->model, r->action->name)), token);
	query_text(query_text(q, digest_of(r)), buffer_str(&b));
	query_integer(q, r->now_ms);
	query_run(q);
	buffer_release(&b);
}
