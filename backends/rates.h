/*
 * rates.h - how quick this machine is at what first calls wait for: compilers, and kernels that are read.
 */
#ifndef HEDDLE_RATES_H
#define HEDDLE_RATES_H

/* What is known of one kind of work. name: by which the disk knows it, 63 bytes at most; guess: milliseconds
 * for one, until it has been seen. Rates are made once and stay. */
typedef struct Rate Rate;
Rate *rate_of(const char *name, double guess);          /* NULL: no memory; then nothing is known */
double rate_ms(Rate *, double amount);                  /* what so much will take; of NULL 0 */
void rate_seen(Rate *, double amount, double ms);       /* what so much took */

#endif
