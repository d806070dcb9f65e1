/* Counters, gauges and histograms in one registry, printed as Prometheus text 0.0.4. Names without the prefix
 * dirpipe_; labels are few and bounded (source, target, op, result, reason, state, code). */
#ifndef DIRPIPE_METRICS_H
#define DIRPIPE_METRICS_H

#include "buf.h"

struct metrics;

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM, METRICS_KINDS };

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* Declares a family once; name must end in _total for a counter. Histograms use the buckets of INTERFACES 5.5. */
void metrics_declare(struct metrics *m, enum metrics_kind kind, const char *name, const char *help);

/* labels: "target=\"m365\",op=\"create\"" or "" — built by metrics_labels, which escapes. */
void metrics_add(struct metrics *m, const char *name, const char *labels, double value);
void metrics_set(struct metrics *m, const char *name, const char *labels, double value);
void metrics_observe(struct metrics *m, const char *name, const char *labels, double seconds);
double metrics_value(const struct metrics *m, const char *name, const char *labels);
void metrics_forget(struct metrics *m, const char *name,
		    const char *labels); /* a target that is gone */

/* key, value pairs ending in NULL; returns text in a static ring of 8 buffers. */
const char *metrics_labels(const char *key, ...) __attribute__((sentinel));

void metrics_print(const struct metrics *m, struct buf *out);

#endif
