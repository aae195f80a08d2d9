/*
 * What all Describe actions have in common: ids, names, filters, pages.
 */
#pragma once

#include "region/filter.h"

struct describe {
	const struct resource_kind *kind;
	const char *list;              /* member of the output: "Vpcs" */
	const char *ids;               /* member of the input, NULL if it has none: "VpcIds" */
	const char *names, *name_path; /* the same by name: "KeyNames", "KeyName" */
	const char *name_not_found;    /* code: "InvalidKeyPair.NotFound" */
	/* Optional: false leaves it out. */
	bool (*accept)(struct request *r, const struct resource *res);
};

int describe_run(struct request *r, const struct describe *d);

/* For those who show something else than the document: goes through the resources of the request's ids, or
 * all of them, from where NextToken says, oldest first, a page at most. match() says whether the answer has
 * it, add() puts it there: the document stays. */
struct describe_each {
	const struct resource_kind *kind;
	const char *ids;              /* member of the input, NULL if it has none */
	const struct filter *filters; /* of its documents: narrow what is looked at; NULL: none */
	const char *ids_alone;        /* what the error calls them, if they may not be used with MaxResults */
	bool (*match)(void *ctx, struct resource *res);
	void (*add)(void *ctx, struct resource *res);
	void *ctx;
};
int describe_each(struct request *r, const struct describe_each *each);

/* Pages for those who list something else: how many items at most (0: all), and where to begin (the number
 * that describe_next() was given). -1: MaxResults or NextToken are invalid. */
int describe_page(struct request *r, unsigned *most, s64 *after);
void describe_next(struct request *r, s64 last);
/* The same for pages that begin behind a text; *after: "" at first. */
int describe_page_text(struct request *r, unsigned *most, const char **after);
void describe_next_text(struct request *r, const char *last);
