/* A budget of units per window, as vendors count them: refused units are not charged. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { BUDGET_SLOTS = 64 };

struct budget {
	int64_t limit;	   /* 0: no limit */
	int64_t window_ms; /* slides in steps of a 64th */
	int64_t spent[BUDGET_SLOTS];
	int64_t slot; /* number of the newest slot since time 0 */
	int64_t total;
};

/* A change of either forgets what was spent. */
void budget_set(struct budget *budget, int64_t limit, int64_t window_ms);

/* Charges units, or returns the ms until so many are free (> 0). */
int64_t budget_charge(struct budget *budget, int64_t units, int64_t now_ms);
