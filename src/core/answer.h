/* What an operator's operation answers: members and rows with types, written as they are put, as
 * JSON (core/json_writer.h) or as lines for people. What comes out is JSON, or safe for a terminal,
 * whatever is put. One thread at a time.
 *
 *     answer_list(a, "users");
 *     answer_row(a, NULL, "{id}  {is_admin?admin/user:5}  {email|nobody}");
 *     answer_string(a, "id", id);
 *     …
 *     answer_row_end(a);
 *     answer_list_end(a);
 *
 * A layout is the line that people see of a row. {NAME} in it is the member of that name, with
 * any of these behind it, in this order: * it may have several lines; ?YES/NO the texts for a
 * flag; |TEXT in place of null or nothing; :N or :+N filled up with blanks behind it or before it.
 * Without a layout a row is a line "name: value" for each member.
 * In lines, control characters and those that turn the direction of text are shown as their code,
 * and a value that is not ASCII stands isolated (Unicode Standard Annex 9). Times have no
 * milliseconds there. */
#pragma once

#include "core/json_writer.h"

enum answer_form { ANSWER_JSON, ANSWER_LINES };

enum { ANSWER_CELLS = 16 }; /* of a row */

struct answer;

struct answer *answer_open(void *mem, enum answer_form form);

void answer_list(struct answer *answer, const char *name);
void answer_list_end(struct answer *answer);

/* A row of the list that is open, and then without a name. Else an object of this name; without
 * one, members of the answer itself. The layout lives until answer_row_end(). */
void answer_row(struct answer *answer, const char *name, const char *layout);
void answer_row_end(struct answer *answer);

/* Members of the row that is open. NULL, and the time 0, are null. */
void answer_string(struct answer *answer, const char *name, const char *value);
void answer_number(struct answer *answer, const char *name, int64_t value);
void answer_flag(struct answer *answer, const char *name, bool value);
void answer_time(struct answer *answer, const char *name, int64_t ms);

/* A line for people alone, whose arguments are ours. */
void answer_say(struct answer *answer, const char *format, ...) printf_like(2, 3);

/* What was written since it was taken last, in `mem`. */
char *answer_take(struct answer *answer, void *mem);

/* The end of it, likewise; JSON has no line break behind it. */
char *answer_end(struct answer *answer, void *mem);
