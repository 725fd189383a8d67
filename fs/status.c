/* SPDX-License-Identifier: MIT */
#include "status.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A piece of a text that is not ours to change. */
struct span {
	const char *start;
	size_t length;
};

static bool span_is(struct span span, const char *text)
{
	return span.length == strlen(text) && !memcmp(span.start, text, span.length);
}

/* Takes the next line off *text, without its end. false: there is none. */
static bool next_line(const char **text, struct span *ret_line)
{
	const char *end;

	if (!**text)
		return false;
	end = strchrnul(*text, '\n');
	*ret_line = (struct span){ *text, (size_t)(end - *text) };
	*text = *end ? end + 1 : end;
	return true;
}

/* The number that the span is, all of it. */
static bool read_number(struct span span, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (!span.length)
		return false;
	for (size_t i = 0; i < span.length; i++) {
		unsigned digit = (unsigned)(span.start[i] - '0');

		if (digit > 9 || number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return true;
}

/* A number with a fraction, as 12.25: strtod(3) would ask the locale which point to expect. */
static bool read_seconds(struct span span, double *ret_seconds)
{
	const char *point = memchr(span.start, '.', span.length);
	struct span whole = { span.start, point ? (size_t)(point - span.start) : span.length };
	struct span fraction = { point ? point + 1 : NULL, span.length - whole.length };
	uint64_t seconds, part;
	double scale = 1;

	if (!read_number(whole, &seconds))
		return false;
	*ret_seconds = (double)seconds;
	if (!point)
		return true;
	fraction.length--;
	if (!read_number(fraction, &part))
		return false;
	for (size_t i = 0; i < fraction.length; i++)
		scale *= 10;
	*ret_seconds += (double)part / scale;
	return true;
}

static bool read_name(struct span span, char ret_name[STATUS_NAME_SIZE])
{
	if (span.length >= STATUS_NAME_SIZE)
		return false;
	memcpy(ret_name, span.start, span.length);
	ret_name[span.length] = '\0';
	return true;
}

/* Room for one item more in an array of count; the new item is zero. NULL: no memory. */
static void *grow(void *array, size_t *count, size_t size)
{
	char *grown = reallocarray(array, *count + 1, size);

	if (grown)
		memset(grown + (*count)++ * size, 0, size);
	return grown;
}

/* ---- stats: NAME{LABEL="VALUE"} NUMBER ---- */

struct sample {
	struct span metric;
	struct span label; /* the value of its only label; empty when it has none */
	uint64_t value;
};

static bool read_sample(struct span line, struct sample *ret_sample)
{
	const char *end = line.start + line.length;
	const char *blank = memrchr(line.start, ' ', line.length);
	const char *brace, *quote, *last;

	if (!blank || line.start[0] == '#' ||
	    !read_number((struct span){ blank + 1, (size_t)(end - blank - 1) }, &ret_sample->value))
		return false;
	ret_sample->metric = (struct span){ line.start, (size_t)(blank - line.start) };
	ret_sample->label = (struct span){ blank, 0 };
	brace = memchr(line.start, '{', ret_sample->metric.length);
	if (!brace)
		return true;
	ret_sample->metric.length = (size_t)(brace - line.start);
	quote = memchr(brace, '"', (size_t)(blank - brace));
	last = memrchr(brace, '"', (size_t)(blank - brace));
	if (!quote || quote == last)
		return false;
	ret_sample->label = (struct span){ quote + 1, (size_t)(last - quote - 1) };
	return true;
}

static int add_count(struct status_counts *counts, const struct sample *sample)
{
	struct status_count *items;
	char name[STATUS_NAME_SIZE];

	if (!read_name(sample->label, name))
		return 0;
	items = grow(counts->items, &counts->count, sizeof(*items));
	if (!items)
		return -ENOMEM;
	counts->items = items;
	items += counts->count - 1;
	memcpy(items->name, name, sizeof(name));
	items->value = sample->value;
	return 0;
}

static int take_sample(struct status *status, const struct sample *sample)
{
	if (span_is(sample->metric, "zcfs_read_bytes_total"))
		return add_count(&status->read_bytes, sample);
	if (span_is(sample->metric, "zcfs_write_bytes_total"))
		return add_count(&status->write_bytes, sample);
	if (span_is(sample->metric, "zcfs_copy_bytes_total"))
		return add_count(&status->copy_bytes, sample);
	if (span_is(sample->metric, "zcfs_requests_total"))
		return add_count(&status->requests, sample);
	if (span_is(sample->metric, "zcfs_copy_requests_total"))
		status->copy_requests = sample->value;
	return 0;
}

int status_parse_stats(struct status *status, const char *text)
{
	bool known = false;
	struct span line;
	int err = 0;

	while (!err && next_line(&text, &line)) {
		struct sample sample;

		if (!read_sample(line, &sample))
			continue;
		known |= sample.metric.length > 5 && !memcmp(sample.metric.start, "zcfs_", 5);
		err = take_sample(status, &sample);
	}
	return err || known ? err : -EPROTO;
}

/* ---- status: a word, blanks, the rest of the line; what is indented belongs to the word above
 * ---- */

static int set_text(char **field, struct span text)
{
	char *copy = strndup(text.start, text.length);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* "  without WHAT: WHY" */
static int add_downgrade(struct status *status, struct span line)
{
	static const char without[] = "  without ";
	const size_t skip = sizeof(without) - 1;
	struct status_downgrade *downgrades;
	struct span what, why;
	const char *colon;
	int err;

	if (line.length < skip || memcmp(line.start, without, skip))
		return 0;
	what = (struct span){ line.start + skip, line.length - skip };
	colon = memmem(what.start, what.length, ": ", 2);
	if (!colon)
		return 0;
	why.start = colon + 2;
	why.length = (size_t)(what.start + what.length - why.start);
	what.length = (size_t)(colon - what.start);
	downgrades = grow(status->downgrades, &status->downgrade_count, sizeof(*downgrades));
	if (!downgrades)
		return -ENOMEM;
	status->downgrades = downgrades;
	downgrades += status->downgrade_count - 1;
	err = set_text(&downgrades->what, what);
	return err ? err : set_text(&downgrades->why, why);
}

/* Whether the line is "KEY    VALUE". */
static bool has_key(struct span line, const char *key, struct span *ret_value)
{
	size_t i = strlen(key);

	if (line.length <= i || memcmp(line.start, key, i) || line.start[i] != ' ')
		return false;
	while (i < line.length && line.start[i] == ' ')
		i++;
	*ret_value = (struct span){ line.start + i, line.length - i };
	return true;
}

static void read_running(struct status *status, struct span value)
{
	const char *blank = memchr(value.start, ' ', value.length);

	if (blank)
		value.length = (size_t)(blank - value.start);
	read_number(value, &status->running);
}

int status_parse_page(struct status *status, const char *text)
{
	bool known = false, in_downgrades = false;
	struct span line, value;
	int err = 0;

	while (!err && next_line(&text, &line)) {
		if (line.length && line.start[0] == ' ') {
			if (in_downgrades)
				err = add_downgrade(status, line);
			continue;
		}
		in_downgrades = span_is(line, "downgrades");
		known |= in_downgrades;
		if (has_key(line, "backing", &value))
			err = set_text(&status->backing, value);
		else if (has_key(line, "transport", &value))
			err = set_text(&status->transport, value);
		else if (has_key(line, "running", &value))
			read_running(status, value);
	}
	return err || known ? err : -EPROTO;
}

/* ---- copies: KEY=VALUE pairs, a VALUE may be quoted as in C ---- */

struct pair {
	struct span key;
	struct span value; /* quoted: what is between the quotes, as it is written */
	bool quoted;
};

/* Takes the next pair off the line. false: the end, or no pair. */
static bool next_pair(struct span *line, struct pair *ret_pair)
{
	const char *at = line->start, *end = at + line->length;

	while (at < end && *at == ' ')
		at++;
	ret_pair->key.start = at;
	while (at < end && *at != '=' && *at != ' ')
		at++;
	ret_pair->key.length = (size_t)(at - ret_pair->key.start);
	if (at == end || *at != '=')
		return false;
	at++;
	ret_pair->quoted = at < end && *at == '"';
	at += ret_pair->quoted;
	ret_pair->value.start = at;
	while (at < end && *at != (ret_pair->quoted ? '"' : ' '))
		at += ret_pair->quoted && *at == '\\' && at + 1 < end ? 2 : 1;
	ret_pair->value.length = (size_t)(at - ret_pair->value.start);
	if (ret_pair->quoted && at++ == end)
		return false;
	*line = (struct span){ at, (size_t)(end - at) };
	return true;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* The byte that the escape after a backslash stands for; *at is moved behind it. */
static char unescape(const char **at, const char *end)
{
	static const char letters[] = "abfnrtv", bytes[] = "\a\b\f\n\r\t\v";
	const char *letter = strchr(letters, **at);
	unsigned octal = 0;

	if (!is_octal(**at)) {
		char c = letter && *letter ? bytes[letter - letters] : **at;

		(*at)++;
		return c;
	}
	for (int i = 0; i < 3 && *at < end && is_octal(**at); i++)
		octal = octal * 8 + (unsigned)(*(*at)++ - '0');
	return (char)octal;
}

/* A name with a NUL in it cannot be: it ends there. */
static int set_unescaped(char **field, struct span quoted)
{
	const char *at = quoted.start, *end = at + quoted.length;
	int err = set_text(field, quoted); /* never longer than with its escapes */
	char *to = *field;

	if (err)
		return err;
	while (at < end) {
		char c = *at++;

		*to++ = c == '\\' && at < end ? unescape(&at, end) : c;
	}
	*to = '\0';
	return 0;
}

static int take_pair(struct status_copy *copy, const struct pair *pair)
{
	if (span_is(pair->key, "src") && pair->quoted)
		return set_unescaped(&copy->src, pair->value);
	if (span_is(pair->key, "dst") && pair->quoted)
		return set_unescaped(&copy->dst, pair->value);
	if (span_is(pair->key, "pid"))
		read_number(pair->value, &copy->pid);
	else if (span_is(pair->key, "path"))
		read_name(pair->value, copy->path);
	else if (span_is(pair->key, "done"))
		read_number(pair->value, &copy->done);
	else if (span_is(pair->key, "total"))
		read_number(pair->value, &copy->total);
	else if (span_is(pair->key, "seconds"))
		read_seconds(pair->value, &copy->seconds);
	return 0;
}

static int add_copy(struct status *status, struct span line)
{
	struct status_copy *copies = grow(status->copies, &status->copy_count, sizeof(*copies));
	struct pair pair;
	int err = 0;

	if (!copies)
		return -ENOMEM;
	status->copies = copies;
	while (!err && next_pair(&line, &pair))
		err = take_pair(&copies[status->copy_count - 1], &pair);
	return err;
}

int status_parse_copies(struct status *status, const char *text)
{
	struct span line;
	int err = 0;

	while (!err && next_line(&text, &line)) {
		struct span rest = line;
		struct pair first;

		if (!next_pair(&rest, &first))
			continue;
		if (span_is(first.key, "pid"))
			err = add_copy(status, line);
		else if (span_is(first.key, "waiting"))
			read_number(first.value, &status->waiting);
	}
	return err;
}

/* ---- the whole ---- */

uint64_t status_sum(const struct status_counts *counts)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < counts->count; i++)
		sum += counts->items[i].value;
	return sum;
}

double status_copy_rate(const struct status_copy *copy)
{
	return copy->seconds > 0 ? (double)copy->done / copy->seconds : -1;
}

double status_copy_seconds_left(const struct status_copy *copy)
{
	double rate = status_copy_rate(copy);

	if (copy->done >= copy->total)
		return 0;
	return rate > 0 ? (double)(copy->total - copy->done) / rate : -1;
}

void status_fini(struct status *status)
{
	for (size_t i = 0; i < status->copy_count; i++) {
		free(status->copies[i].src);
		free(status->copies[i].dst);
	}
	for (size_t i = 0; i < status->downgrade_count; i++) {
		free(status->downgrades[i].what);
		free(status->downgrades[i].why);
	}
	free(status->copies);
	free(status->downgrades);
	free(status->read_bytes.items);
	free(status->write_bytes.items);
	free(status->copy_bytes.items);
	free(status->requests.items);
	free(status->backing);
	free(status->transport);
	*status = (struct status){ .mount_point = NULL };
}
