/* The inner loops of a prediction, for which NumPy and LightGBM take as long with one row as with a
 * hundred. shared/model/candidates.py has the reference; TOLERANCE there says how far this may be from it.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef SOURCE
#define SOURCE ""
#endif

#define MEMORIES 7
#define SLOTS 19 /* the memories, then words */
#define PROPOSED 6
#define CANDIDATES 6
#define PAIR_FEATURES 71
#define SCORERS 2

const char *kernel_source(void) { return SOURCE; }

/* A fitted candidate generator; K labels, m keys, e entries. As shared/model/candidates.py gives it. */
typedef struct {
    int64_t k, m, e;
    int64_t first_one_hot, unknown_day;
    float one_hot;
    const float *idf;             /* (WIDTH) */
    const uint8_t *known;         /* (WIDTH) */
    const int8_t *weights;        /* (WIDTH, SCORERS, K) */
    const float *scale;           /* (WIDTH, SCORERS) */
    const float *log_prior;       /* (K) */
    const float *amount_ratio;    /* (bins, K) */
    const float *weekday_ratio;   /* (days, K) */
    const float *channel_ratio;   /* (channels, K) */
    const uint64_t *keys;         /* (m), ascending; the last stands for every other */
    const int32_t *starts;        /* (m + 1) */
    const int32_t *labels;        /* (e), ascending within a key */
    const float *pair_stats;      /* (e + 1, 4) */
    const float *pair_last;       /* (e + 1, 2) */
    const float *key_stats;       /* (m, 2) */
    const int32_t *proposed;      /* (m, PROPOSED), K where there is none */
    const float *proposed_share;  /* (m, PROPOSED) */
} base;

/* A row before anything fitted, its text aside; ROW in shared/model/candidates.py. */
typedef struct {
    uint64_t keys[SLOTS];
    int64_t day;
    float amount;
    int32_t amount_bin, weekday, channel;
    float flags[3];
} row;

/* The scores (SCORERS, K) of a row that sets these columns; returns the share that is unknown. */
static float score(const base *b, const int32_t *columns, int64_t size, float *scores)
{
    const int64_t k = b->k, wide = SCORERS * k;
    double squared = 0;
    int64_t known = 0;
    for (int64_t at = 0; at < size; at++) {
        const float idf = b->idf[columns[at]];
        squared += (double)(idf * idf);
        known += b->known[columns[at]] != 0;
    }
    const float length = squared > 0 ? (float)sqrt(squared) : 1.0f;
    for (int64_t j = 0; j < wide; j++)
        scores[j] = 0;
    for (int64_t at = 0; at < size; at++) {
        const int32_t column = columns[at];
        const float entry = column >= b->first_one_hot ? b->one_hot : b->idf[column] / length;
        const int8_t *weights = b->weights + column * wide;
        for (int64_t s = 0; s < SCORERS; s++) {
            const float scale = b->scale[column * SCORERS + s];
            for (int64_t j = s * k; j < (s + 1) * k; j++)
                scores[j] += ((float)weights[j] * scale) * entry;
        }
    }
    for (int64_t j = 0; j < k; j++)
        scores[k + j] += b->log_prior[j];
    return (float)((double)(size - known) / (double)size);
}

/* The softmax of K scores. */
static void share(const float *scores, int64_t k, float *shares)
{
    float most = scores[0];
    double sum = 0;
    for (int64_t j = 1; j < k; j++)
        most = scores[j] > most ? scores[j] : most;
    for (int64_t j = 0; j < k; j++)
        sum += shares[j] = expf(scores[j] - most);
    const float scale = (float)(1 / sum);
    for (int64_t j = 0; j < k; j++)
        shares[j] *= scale;
}

static int64_t find(const base *b, uint64_t key)
{
    int64_t low = 0, high = b->m - 1; /* the last is never asked for */
    while (low < high) {
        const int64_t mid = (low + high) / 2;
        if (b->keys[mid] < key)
            low = mid + 1;
        else
            high = mid;
    }
    return b->keys[low] == key ? low : b->m - 1;
}

/* The entry of a key with a label; e where there is none. */
static int64_t find_pair(const base *b, int64_t key, int64_t label)
{
    int64_t low = b->starts[key], high = b->starts[key + 1];
    const int64_t stop = high;
    while (low < high) {
        const int64_t mid = (low + high) / 2;
        if (b->labels[mid] < label)
            low = mid + 1;
        else
            high = mid;
    }
    return low < stop && b->labels[low] == label ? low : b->e;
}

/* The labels with the most votes, the best first; of equals the lower. `votes` has K + 1 places. */
static void choose(const base *b, const int64_t *found, const float *shares, float *votes,
                   int64_t count, int64_t *labels)
{
    const int64_t k = b->k;
    for (int64_t j = 0; j < k; j++)
        votes[j] = shares[j] + shares[k + j];
    votes[k] = 0; /* for proposals that are none */
    for (int64_t slot = 0; slot < MEMORIES; slot++)
        for (int64_t at = found[slot] * PROPOSED; at < (found[slot] + 1) * PROPOSED; at++)
            votes[b->proposed[at]] += b->proposed_share[at];
    for (int64_t place = 0; place < count; place++) {
        int64_t best = 0;
        for (int64_t j = 1; j < k; j++)
            if (votes[j] > votes[best])
                best = j;
        labels[place] = best;
        votes[best] = -1;
    }
}

static void lead(const float *scores, int64_t k, float *best, float *margin)
{
    float first = scores[0], second = -INFINITY;
    for (int64_t j = 1; j < k; j++) {
        if (scores[j] > first) {
            second = first;
            first = scores[j];
        } else if (scores[j] > second) {
            second = scores[j];
        }
    }
    *best = first;
    *margin = k < 2 ? 0 : first - second;
}

/* The candidates of n rows and the features of each pair; M is the smaller of K and CANDIDATES.
 *
 * `columns` and `starts` as in shared.features.encoder.Grams; `scratch` has (2 SCORERS + 1) K + 1 places.
 * Out: labels and linear (n, M), features (n, M, PAIR_FEATURES).
 */
void propose(const base *b, int64_t n, const int32_t *columns, const int32_t *starts,
             const row *rows, float *scratch, int64_t *labels, float *linear, float *features)
{
    const int64_t k = b->k, count = k < CANDIDATES ? k : CANDIDATES;
    float *scores = scratch, *shares = scores + SCORERS * k, *votes = shares + SCORERS * k;
    for (int64_t i = 0; i < n; i++, rows++, labels += count, linear += count) {
        int64_t found[SLOTS], known_words = 0, words = 0;
        float best[SCORERS], margin[SCORERS];
        const float unknown = score(b, columns + starts[i], starts[i + 1] - starts[i], scores);
        for (int64_t s = 0; s < SCORERS; s++) {
            share(scores + s * k, k, shares + s * k);
            lead(scores + s * k, k, best + s, margin + s);
        }
        for (int64_t slot = 0; slot < SLOTS; slot++) {
            found[slot] = find(b, rows->keys[slot]);
            if (slot >= MEMORIES) {
                known_words += found[slot] != b->m - 1;
                words += rows->keys[slot] != 0;
            }
        }
        choose(b, found, shares, votes, count, labels);
        for (int64_t place = 0; place < count; place++) {
            float *f = features + (i * count + place) * PAIR_FEATURES;
            const int64_t it = labels[place];
            int64_t pairs[SLOTS];
            for (int64_t slot = 0; slot < SLOTS; slot++)
                pairs[slot] = find_pair(b, found[slot], it);
            for (int64_t slot = 0; slot < MEMORIES; slot++)
                for (int64_t j = 0; j < 4; j++)
                    *f++ = found[slot] == b->m - 1 ? NAN : b->pair_stats[4 * pairs[slot] + j];
            for (int64_t slot = 0; slot < MEMORIES; slot++)
                for (int64_t j = 0; j < 2; j++)
                    *f++ = b->key_stats[2 * found[slot] + j];
            const float day = rows->day == b->unknown_day ? NAN : (float)rows->day;
            for (int64_t slot = 0; slot < 2; slot++)
                *f++ = day - b->pair_last[2 * pairs[slot]];
            for (int64_t slot = 0; slot < 2; slot++)
                *f++ = fabsf(rows->amount - b->pair_last[2 * pairs[slot] + 1]);
            for (int64_t s = 0; s < SCORERS; s++) {
                const float *of = scores + s * k;
                int64_t rank = 0;
                for (int64_t j = 0; j < count; j++)
                    rank += of[labels[j]] > of[it] || (of[labels[j]] == of[it] && j < place);
                *f++ = of[it];
                *f++ = of[it] - best[s];
                *f++ = (float)rank;
                *f++ = shares[s * k + it];
            }
            linear[place] = scores[it];
            float most = 0, sum = 0;
            for (int64_t slot = MEMORIES; slot < SLOTS; slot++) {
                const float of_word = b->pair_stats[4 * pairs[slot] + 1];
                most = of_word > most ? of_word : most;
                sum += of_word;
            }
            *f++ = most;
            *f++ = (float)((double)sum / (double)(known_words > 1 ? known_words : 1));
            *f++ = b->amount_ratio[rows->amount_bin * k + it];
            *f++ = b->weekday_ratio[rows->weekday * k + it];
            *f++ = b->channel_ratio[rows->channel * k + it];
            *f++ = best[0];
            *f++ = margin[0];
            *f++ = margin[1];
            *f++ = unknown;
            *f++ = (float)known_words;
            *f++ = rows->amount;
            *f++ = isnan(rows->amount) ? 0 : 1;
            *f++ = rows->amount > 0 ? 1 : 0;
            *f++ = rows->flags[0];
            *f++ = (float)words;
            *f++ = rows->flags[1];
            *f++ = rows->flags[2];
        }
    }
}

/* Trees of up to LEAVES leaves, all their splits together, by feature and ascending threshold.
 *
 * Of a tree, the bits of the leaves that can still be reached are kept, the leftmost leaf the
 * lowest: a split that is false takes away those on its left. So no branch is ever guessed, and
 * the splits are read one after the other.
 *
 * Source: Lucchese and others, "QuickScorer: a fast algorithm to rank documents with additive
 * ensembles of regression trees", SIGIR 2015.
 */
typedef struct {
    int64_t trees, width;
    const int32_t *starts;      /* (width + 1): splits starts[i] to starts[i + 1] are feature i's */
    const float *thresholds;    /* the largest float that is not above LightGBM's double */
    const int32_t *tree;        /* of each split */
    const uint32_t *right;      /* of each split: all leaves but those on its left */
    const uint8_t *nan_is_zero; /* (width): else a split says itself where NaN goes */
    const uint8_t *nan_is_left; /* of each split */
    const double *leaves;       /* (trees, LEAVES) */
} forest;
#define LEAVES 32
#define FEATURES_MAX 1024
#define ZERO 1e-35f /* kZeroThreshold: LightGBM takes what is no larger for 0 */

/* The splits of a feature that are false for a value, or NaN, leave their mark on the trees. */
static void apply(const forest *f, int64_t feature, float value, uint32_t *reach)
{
    const int32_t stop = f->starts[feature + 1];
    if (isnan(value) && !f->nan_is_zero[feature]) {
        for (int32_t at = f->starts[feature]; at < stop; at++)
            if (!f->nan_is_left[at])
                reach[f->tree[at]] &= f->right[at];
        return;
    }
    if (isnan(value) || fabsf(value) <= ZERO)
        value = 0;
    for (int32_t at = f->starts[feature]; at < stop && value > f->thresholds[at]; at++)
        reach[f->tree[at]] &= f->right[at];
}

/* The sum of the trees for each of n lines, in the order of the trees.
 *
 * Lines come in groups, the candidates of one row: what all of a group share is applied once.
 * `reach` is scratch, 2 trees.
 */
void judge(const forest *f, int64_t n, const int64_t *size, const float *lines, uint32_t *reach,
           double *out)
{
    const int64_t width = f->width, trees = f->trees;
    uint32_t *alike = reach + trees;
    uint8_t differs[FEATURES_MAX];
    for (int64_t first = 0; first < n; first += *size) {
        const int64_t stop = first + *size < n ? first + *size : n;
        const float *group = lines + first * width;
        memset(alike, 0xff, trees * sizeof *alike);
        for (int64_t feature = 0; feature < width; feature++) {
            differs[feature] = 0;
            for (int64_t line = 1; line < stop - first; line++)
                differs[feature] |=
                    memcmp(group + line * width + feature, group + feature, sizeof(float)) != 0;
            if (!differs[feature])
                apply(f, feature, group[feature], alike);
        }
        for (int64_t line = first; line < stop; line++) {
            memcpy(reach, alike, trees * sizeof *reach);
            for (int64_t feature = 0; feature < width; feature++)
                if (differs[feature])
                    apply(f, feature, lines[line * width + feature], reach);
            double sum = 0;
            for (int64_t tree = 0; tree < trees; tree++)
                sum += f->leaves[tree * LEAVES + __builtin_ctz(reach[tree])];
            out[line] = sum;
        }
    }
}

static uint32_t crc_of_byte[256];

__attribute__((constructor)) static void fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
        crc_of_byte[byte] = value;
    }
}

#define TEXT_COLUMNS 16384

/* The columns of some hashes and of a text's runs of characters, ascending; see shared/features/ngrams.py.
 *
 * `text` is UTF-32, little-endian. Gives how many there are; `out` has room for all runs.
 */
int64_t columns(const uint32_t *hashes, int64_t count, const uint8_t *text, int64_t chars,
                int64_t least, int64_t most, int64_t in_words, int32_t *out)
{
    uint64_t set[TEXT_COLUMNS / 64] = {0};
    for (int64_t at = 0; at < count; at++)
        set[hashes[at] % TEXT_COLUMNS / 64] |= 1ull << hashes[at] % 64;
    for (int64_t start = 0; start < chars; start++) {
        uint32_t crc = 0xffffffffu;
        for (int64_t size = 1; size <= most && start + size <= chars; size++) {
            const uint8_t *letter = text + 4 * (start + size - 1);
            for (int byte = 0; byte < 4; byte++)
                crc = crc_of_byte[(crc ^ letter[byte]) & 0xff] ^ crc >> 8;
            if (size >= least)
                set[~crc % TEXT_COLUMNS / 64] |= 1ull << ~crc % 64;
            if (in_words && size > 1 && letter[0] == ' ' && !(letter[1] | letter[2] | letter[3]))
                break;
        }
    }
    int64_t found = 0;
    for (int32_t part = 0; part < TEXT_COLUMNS / 64; part++)
        for (uint64_t rest = set[part]; rest; rest &= rest - 1)
            out[found++] = 64 * part + __builtin_ctzll(rest);
    return found;
}
