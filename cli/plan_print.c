/* How people read a plan: a table with old and new values, CSV for a spreadsheet, JSON for machines. */
#include "control.h"
#include "plan.h"

#include <stdio.h>
#include <string.h>

/* ---- what a line says ---- */

static void add_value(struct buf *out, const cJSON *value)
{
	if (cJSON_IsString(value))
		buf_adds(out, value->valuestring);
	else
		json_print(value, out);
}

static void add_fields(struct buf *out, const cJSON *op)
{
	const cJSON *was = json_object(op, "was"), *f, *old;

	cJSON_ArrayForEach (f, json_object(op, "set")) {
		buf_addf(out, "%s%s: ", out->n ? ", " : "", f->string);
		old = json_get(was, f->string);
		if (old) {
			add_value(out, old);
			buf_adds(out, " -> ");
		}
		add_value(out, f);
	}
	cJSON_ArrayForEach (f, json_array(op, "clear"))
		buf_addf(out, "%s%s: cleared", out->n ? ", " : "", f->valuestring);
}

/* "update disable": an update that only switches is that switch. */
static void add_name(struct buf *out, const cJSON *op)
{
	const char *name = control_text(op, "op", "?"), *turn = json_text(op, "switch");
	bool update = strcmp(name, "update") == 0;

	if (!turn || !update || cJSON_HasObjectItem(op, "set") || cJSON_HasObjectItem(op, "clear"))
		buf_adds(out, name);
	if (turn && (update || strcmp(turn, "disable") == 0))
		buf_addf(out, "%s%s", out->n ? " " : "", turn);
	if (json_text(op, "what"))
		buf_addf(out, " %s", json_text(op, "what"));
}

static const char *guard_of(const struct plan *p, const cJSON *row)
{
	const cJSON *need, *s;
	const char *phase = NULL;

	if (cJSON_GetArraySize(json_array(row, "needs")) == 0)
		return "";
	cJSON_ArrayForEach (need, json_array(row, "needs")) {
		phase = json_text(need, "phase");
		if (phase && strcmp(phase, "held") == 0)
			return "held";
	}
	if (phase && strcmp(phase, "granted") == 0)
		return "permitted";
	cJSON_ArrayForEach (s, p->summaries) {
		if (strcmp(control_text(s, "target", ""), control_text(row, "target", "?")) == 0)
			return control_text(s, "guard", "held");
	}
	return "held";
}

/* ---- table ---- */

static void print_row(const struct plan *p, const cJSON *row)
{
	const char *who = control_text(row, "name", control_text(row, "user", "?"));
	const cJSON *op;

	if (json_text(row, "problem")) {
		printf("%-12s %-40s ? %s %s\n", control_text(row, "target", "?"), who,
		       control_text(row, "problem", ""), control_text(row, "detail", ""));
		return;
	}
	cJSON_ArrayForEach (op, json_array(row, "ops")) {
		CLEANUP(buf_cleanup) struct buf name = {0}, fields = {0};
		bool hard = json_true(op, "destructive", false);

		add_name(&name, op);
		add_fields(&fields, op);
		printf("%-12s %-40s %s%s%s%s%s%s\n", control_text(row, "target", "?"), who,
		       hard ? "! " : "", name.p, hard ? " (the guard: " : "",
		       hard ? guard_of(p, row) : "", hard ? ") " : " ", fields.p ? fields.p : "");
	}
}

static void print_summary(const cJSON *s)
{
	CLEANUP(buf_cleanup) struct buf ops = {0};
	const cJSON *op;

	cJSON_ArrayForEach (op, json_object(s, "ops"))
		buf_addf(&ops, "%s%s %.0f", ops.n ? ", " : "", op->string, op->valuedouble);
	printf("%s: %lld users, %lld unchanged, %lld would change%s%s%s, %lld cannot be judged",
	       control_text(s, "target", "?"), (long long)json_int(s, "users", 0),
	       (long long)json_int(s, "unchanged", 0), (long long)json_int(s, "rows", 0),
	       ops.n ? " (" : "", ops.n ? ops.p : "", ops.n ? ")" : "",
	       (long long)json_int(s, "problems", 0));
	if (json_int(s, "destructive", 0) > 0)
		printf("; %lld destructive: %s by the guard",
		       (long long)json_int(s, "destructive", 0), control_text(s, "guard", "held"));
	puts("");
}

/* ---- CSV (RFC 4180) ---- */

static void add_cell(struct buf *out, const char *text)
{
	if (out->n)
		buf_addc(out, ',');
	buf_addc(out, '"');
	for (; *text; text++) {
		if (*text == '"')
			buf_addc(out, '"');
		buf_addc(out, *text);
	}
	buf_addc(out, '"');
}

static void print_csv_line(const struct plan *p, const cJSON *row, const cJSON *op)
{
	CLEANUP(buf_cleanup) struct buf line = {0}, name = {0}, fields = {0};

	if (op) {
		add_name(&name, op);
		add_fields(&fields, op);
	}
	add_cell(&line, control_text(row, "target", ""));
	add_cell(&line, control_text(row, "user", ""));
	add_cell(&line, control_text(row, "name", ""));
	add_cell(&line, control_text(row, "account", ""));
	add_cell(&line, name.n ? name.p : "");
	add_cell(&line, fields.n ? fields.p : "");
	add_cell(&line, op && json_true(op, "destructive", false) ? guard_of(p, row) : "");
	add_cell(&line, control_text(row, "problem", ""));
	printf("%s\r\n", line.p);
}

static void print_csv(const struct plan *p)
{
	const cJSON *row, *op;

	printf("target,user,name,account,operation,fields,guard,problem\r\n");
	cJSON_ArrayForEach (row, p->rows) {
		if (json_text(row, "problem"))
			print_csv_line(p, row, NULL);
		cJSON_ArrayForEach (op, json_array(row, "ops"))
			print_csv_line(p, row, op);
	}
}

/* ---- JSON ---- */

static void print_json(const struct plan *p)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	buf_adds(&text, "{\"targets\":");
	json_print(p->summaries, &text);
	buf_adds(&text, ",\"rows\":");
	json_print(p->rows, &text);
	buf_addc(&text, '}');
	puts(text.p);
}

void plan_print(const struct plan *p, enum plan_format format)
{
	const cJSON *line;

	switch (format) {
	case PLAN_JSON:
		print_json(p);
		break;
	case PLAN_CSV:
		print_csv(p);
		break;
	case PLAN_TABLE:
		cJSON_ArrayForEach (line, p->rows)
			print_row(p, line);
		cJSON_ArrayForEach (line, p->summaries)
			print_summary(line);
		break;
	}
}
