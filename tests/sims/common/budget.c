#include "budget.h"

static int64_t step_ms(const struct budget *b)
{
	return b->window_ms < BUDGET_SLOTS ? 1 : b->window_ms / BUDGET_SLOTS;
}

static void slide(struct budget *b, int64_t slot)
{
	int64_t moves = slot - b->slot;

	for (int64_t i = 1; i <= moves && i <= BUDGET_SLOTS; i++) {
		int64_t *oldest = &b->spent[(b->slot + i) % BUDGET_SLOTS];

		b->total -= *oldest;
		*oldest = 0;
	}
	if (moves > 0)
		b->slot = slot;
}

void budget_set(struct budget *b, int64_t limit, int64_t window_ms)
{
	if (b->limit != limit || b->window_ms != window_ms)
		*b = (struct budget){.limit = limit, .window_ms = window_ms};
}

int64_t budget_charge(struct budget *b, int64_t units, int64_t now_ms)
{
	if (!b->limit || !b->window_ms)
		return 0;
	slide(b, now_ms / step_ms(b));
	if (b->total + units <= b->limit || !b->total) {
		b->spent[b->slot % BUDGET_SLOTS] += units;
		b->total += units;
		return 0;
	}
	int64_t need = b->total + units - b->limit, freed = 0;
	for (int64_t i = 1; i <= BUDGET_SLOTS; i++) {
		freed += b->spent[(b->slot + i) % BUDGET_SLOTS];
		if (freed >= need)
			return (b->slot + i) * step_ms(b) - now_ms;
	}
	return b->window_ms;
}
