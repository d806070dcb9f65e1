#include "password.h"

#include <sodium.h>
#include <string.h>

/* Each class at every fourth place: policies ask for three of four (Entra: concept-sspr-policy). */
void password_random(char out[PASSWORD_LENGTH + 1])
{
	static const char *const classes[] = {"abcdefghijkmnopqrstuvwxyz",
					      "ABCDEFGHJKLMNPQRSTUVWXYZ", "23456789", "!#%*+-=?@_"};

	for (size_t i = 0; i < PASSWORD_LENGTH; i++) {
		const char *of = classes[i % 4];

		out[i] = of[randombytes_uniform((uint32_t)strlen(of))];
	}
	out[PASSWORD_LENGTH] = '\0';
}
