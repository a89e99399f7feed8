/* The inner loops of a prediction. NumPy and LightGBM take as long for one row as for a hundred.
 *
 * shared/model/candidates.py has the reference; TOLERANCE there bounds the difference.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef SOURCE
#define SOURCE ""
#endif

#define HISTORY_KEYS 13
#define USER 7
#define USER_LINEAR 12 /* the last of the history keys */
static const int OWN_PAIRS[] = {0, 1, 2, 6}; /* the other key of the keys after USER */
#define LABEL_MARGIN 1e-4f
#define SLOTS 25 /* the history keys, then words */
#define MAX_LABELS_PER_KEY 6
#define CANDIDATES 6
#define PAIR_FEATURES 108
#define SCORERS 2
#define NO_LABEL (-1) /* a place without a candidate */
#define NO_LABEL_SCORE (-50.0f)

const char *kernel_source(void) { return SOURCE; }

/* A fitted candidate generator: K labels, m keys, e entries. The first D labels have columns of the
 * linear models, the first of these are open.
 *
 * Its fields are in the order in which shared/native/candidates.py writes them.
 */
typedef struct {
    int64_t k, d, open_columns, m, e;
    int64_t unknown_day;
    const float *idf;             /* (WIDTH), 0 for one-hot columns */
    const float *one_hot;         /* (WIDTH), 0 for text columns */
    const uint8_t *known;         /* (WIDTH) */
    const int8_t *weights;        /* (WIDTH, SCORERS, D) */
    const float *scale;           /* (WIDTH, SCORERS) */
    const float *log_prior;       /* (D) */
    const float *amount_ratio;    /* (bins, D) */
    const float *weekday_ratio;   /* (days, D) */
    const float *channel_ratio;   /* (channels, D) */
    const uint8_t *is_open;       /* (K) */
    const uint64_t *keys;         /* (m), ascending; the last stands for every other */
    const int32_t *starts;        /* (m + 1) */
    const int32_t *labels;        /* (e), ascending within a key */
    const float *pair_stats;      /* (e + 1, 4) */
    const float *pair_last;       /* (e + 1, 2) */
    const float *key_stats;       /* (m, 2) */
    const int32_t *proposed;      /* (m, MAX_LABELS_PER_KEY), K where there is none */
    const float *proposed_share;  /* (m, MAX_LABELS_PER_KEY) */
} generator;

/* A row without its text; ROW in shared/model/candidates.py. */
typedef struct {
    uint64_t keys[SLOTS];
    int64_t day;
    float amount;
    int32_t amount_bin, weekday, channel;
    float flags[3];
} row;

/* Write the scores (SCORERS, D) of a row; return the share of its columns that is unknown. */
static float score_row(const generator *g, const int32_t *columns, int64_t size, float *scores)
{
    const int64_t d = g->d, wide = SCORERS * d;
    double squared = 0;
    int64_t known = 0;
    for (int64_t at = 0; at < size; at++) {
        const float idf = g->idf[columns[at]];
        squared += (double)(idf * idf);
        known += g->known[columns[at]] != 0;
    }
    const float length = squared > 0 ? (float)sqrt(squared) : 1.0f;
    for (int64_t j = 0; j < wide; j++)
        scores[j] = 0;
    for (int64_t at = 0; at < size; at++) {
        const int32_t column = columns[at];
        const float entry = g->idf[column] / length + g->one_hot[column];
        const int8_t *weights = g->weights + column * wide;
        for (int64_t s = 0; s < SCORERS; s++) {
            const float scale = g->scale[column * SCORERS + s];
            for (int64_t j = s * d; j < (s + 1) * d; j++)
                scores[j] += ((float)weights[j] * scale) * entry;
        }
    }
    for (int64_t j = 0; j < d; j++)
        scores[d + j] += g->log_prior[j];
    return (float)((double)(size - known) / (double)size);
}

/* Softmax of D scores. */
static void softmax(const float *scores, int64_t d, float *shares)
{
    float most = scores[0];
    double sum = 0;
    for (int64_t j = 1; j < d; j++)
        most = scores[j] > most ? scores[j] : most;
    for (int64_t j = 0; j < d; j++)
        sum += shares[j] = expf(scores[j] - most);
    const float scale = (float)(1 / sum);
    for (int64_t j = 0; j < d; j++)
        shares[j] *= scale;
}

/* The user's own key for what another key stands for; pair_keys in shared/model/label_history.py.
 * 0 without a user or a key.
 */
static uint64_t pair_key(uint64_t user, uint64_t key)
{
    if (user == 0 || key == 0)
        return 0;
    uint64_t mixed = user + key * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    mixed ^= mixed >> 31;
    return mixed < 1 ? 1 : mixed > UINT64_MAX - 1 ? UINT64_MAX - 1 : mixed;
}

/* The label that both linear models together give, plus 1. `shares` has (SCORERS, D). */
static uint64_t linear_label(const float *shares, int64_t d)
{
    float most = shares[0] + shares[d];
    int64_t label = 0;
    for (int64_t j = 1; j < d; j++)
        most = shares[j] + shares[d + j] > most ? shares[j] + shares[d + j] : most;
    while (shares[label] + shares[d + label] < most - LABEL_MARGIN)
        label++;
    return (uint64_t)(label + 1);
}

/* The position of a key by binary search; m - 1 where it is missing. */
static int64_t find(const generator *g, uint64_t key)
{
    int64_t low = 0, high = g->m - 1; /* the last is no real key */
    while (low < high) {
        const int64_t mid = (low + high) / 2;
        if (g->keys[mid] < key)
            low = mid + 1;
        else
            high = mid;
    }
    return g->keys[low] == key ? low : g->m - 1;
}

/* The entry of a (key, label) pair by binary search; e where it is missing. */
static int64_t find_pair(const generator *g, int64_t key, int64_t label)
{
    int64_t low = g->starts[key], high = g->starts[key + 1];
    const int64_t stop = high;
    while (low < high) {
        const int64_t mid = (low + high) / 2;
        if (g->labels[mid] < label)
            low = mid + 1;
        else
            high = mid;
    }
    return low < stop && g->labels[low] == label ? low : g->e;
}

/* Choose the labels with the most votes, best first, the lower of equals; NO_LABEL where none is
 * left. `votes` has room for D. The few labels without a column that got a vote are in a list.
 */
static void choose(const generator *g, const int64_t *positions, const float *shares, float *votes,
                   int64_t count, int64_t *labels)
{
    const int64_t d = g->d;
    float more_votes[HISTORY_KEYS * MAX_LABELS_PER_KEY];
    int32_t more[HISTORY_KEYS * MAX_LABELS_PER_KEY];
    int64_t size = 0;
    for (int64_t j = 0; j < g->open_columns; j++)
        votes[j] = shares[j] + shares[d + j];
    for (int64_t j = g->open_columns; j < d; j++)
        votes[j] = -1; /* a closed label is for its users alone */
    for (int32_t at = g->starts[positions[USER]]; at < g->starts[positions[USER] + 1]; at++)
        if (g->labels[at] < d && g->labels[at] >= g->open_columns)
            votes[g->labels[at]] = shares[g->labels[at]] + shares[d + g->labels[at]];
    for (int64_t slot = 0; slot < HISTORY_KEYS; slot++)
        for (int64_t j = 0; j < MAX_LABELS_PER_KEY; j++) {
            const int64_t at = positions[slot] * MAX_LABELS_PER_KEY + j;
            const int32_t label = g->proposed[at];
            int64_t found = 0;
            if (label == g->k)
                break;
            if (label < d) {
                votes[label] += g->proposed_share[at];
                continue;
            }
            while (found < size && more[found] != label)
                found++;
            if (found == size) {
                more[size] = label;
                more_votes[size++] = 0;
            }
            more_votes[found] += g->proposed_share[at];
        }
    for (int64_t place = 0; place < count; place++) {
        int64_t best = 0, best_more = -1;
        for (int64_t j = 1; j < d; j++)
            if (votes[j] > votes[best])
                best = j;
        float most = votes[best];
        for (int64_t j = 0; j < size; j++)
            if (more_votes[j] > most ||
                (best_more >= 0 && more_votes[j] == most && more[j] < more[best_more])) {
                most = more_votes[j];
                best_more = j;
            }
        labels[place] = most < 0 ? NO_LABEL : best_more < 0 ? best : more[best_more];
        *(best_more < 0 ? votes + best : more_votes + best_more) = -1;
    }
}

/* The best of D scores, and by how much it leads the second. */
static void lead(const float *scores, int64_t d, float *best, float *margin)
{
    float first = scores[0], second = -INFINITY;
    for (int64_t j = 1; j < d; j++) {
        if (scores[j] > first) {
            second = first;
            first = scores[j];
        } else if (scores[j] > second) {
            second = scores[j];
        }
    }
    *best = first;
    *margin = d < 2 ? 0 : first - second;
}

/* The candidates of n rows and the features of each pair. M is the smaller of K and CANDIDATES.
 *
 * `columns` and `starts` are those of SparseRows; `scratch` has room for (2 SCORERS + 1) D.
 * Results: labels and linear (n, M), features (n, M, PAIR_FEATURES), NAN for NO_LABEL.
 */
void generate_candidates(const generator *g, int64_t n, const int32_t *columns,
                         const int32_t *starts, const row *rows, float *scratch, int64_t *labels,
                         float *linear, float *features)
{
    const int64_t d = g->d, count = g->k < CANDIDATES ? g->k : CANDIDATES;
    float *scores = scratch, *shares = scores + SCORERS * d, *votes = shares + SCORERS * d;
    for (int64_t i = 0; i < n; i++, rows++, labels += count, linear += count) {
        const uint64_t user = rows->keys[USER];
        int64_t positions[SLOTS], known_words = 0, words = 0;
        float best[SCORERS], margin[SCORERS];
        const float unknown = score_row(g, columns + starts[i], starts[i + 1] - starts[i], scores);
        for (int64_t s = 0; s < SCORERS; s++) {
            softmax(scores + s * d, d, shares + s * d);
            lead(scores + s * d, d, best + s, margin + s);
        }
        for (int64_t slot = 0; slot < SLOTS; slot++) {
            uint64_t key = rows->keys[slot];
            if (slot > USER && slot <= USER_LINEAR)
                key = user == 0 ? 0
                                : pair_key(user, slot == USER_LINEAR
                                                     ? linear_label(shares, d)
                                                     : rows->keys[OWN_PAIRS[slot - USER - 1]]);
            positions[slot] = key == 0 ? g->m - 1 : find(g, key);
            if (slot >= HISTORY_KEYS) {
                known_words += positions[slot] != g->m - 1;
                words += rows->keys[slot] != 0;
            }
        }
        choose(g, positions, shares, votes, count, labels);
        /* What a label without a column scores: an even share of all. */
        float most = 0;
        for (int64_t j = 0; j < d; j++)
            most = shares[j] > most ? shares[j] : most;
        const float even = best[0] - logf(most) - logf((float)d);
        for (int64_t place = 0; place < count; place++) {
            float *f = features + (i * count + place) * PAIR_FEATURES;
            const int64_t label = labels[place];
            const int has_column = label < d;
            int64_t pairs[SLOTS];
            if (label == NO_LABEL) {
                linear[place] = NO_LABEL_SCORE;
                for (int64_t feature = 0; feature < PAIR_FEATURES; feature++)
                    f[feature] = NAN;
                continue;
            }
            for (int64_t slot = 0; slot < SLOTS; slot++)
                pairs[slot] = find_pair(g, positions[slot], label);
            for (int64_t slot = 0; slot < HISTORY_KEYS; slot++)
                for (int64_t j = 0; j < 4; j++)
                    *f++ = positions[slot] == g->m - 1 ? NAN : g->pair_stats[4 * pairs[slot] + j];
            for (int64_t slot = 0; slot < HISTORY_KEYS; slot++)
                for (int64_t j = 0; j < 2; j++)
                    *f++ = g->key_stats[2 * positions[slot] + j];
            const float day = rows->day == g->unknown_day ? NAN : (float)rows->day;
            for (int64_t slot = 0; slot < 2; slot++)
                *f++ = day - g->pair_last[2 * pairs[slot]];
            for (int64_t slot = 0; slot < 2; slot++)
                *f++ = fabsf(rows->amount - g->pair_last[2 * pairs[slot] + 1]);
            for (int64_t s = 0; s < SCORERS; s++) {
                const float *score = scores + s * d;
                int64_t rank = 0;
                if (!has_column) {
                    for (int64_t j = 0; j < 4; j++)
                        *f++ = NAN;
                    continue;
                }
                for (int64_t j = 0; j < count; j++)
                    if (labels[j] != NO_LABEL && labels[j] < d)
                        rank += score[labels[j]] > score[label] ||
                                (score[labels[j]] == score[label] && j < place);
                *f++ = score[label];
                *f++ = score[label] - best[s];
                *f++ = (float)rank;
                *f++ = shares[s * d + label];
            }
            linear[place] = has_column ? scores[label] : even;
            float most = 0, sum = 0;
            for (int64_t slot = HISTORY_KEYS; slot < SLOTS; slot++) {
                const float of_word = g->pair_stats[4 * pairs[slot] + 1];
                most = of_word > most ? of_word : most;
                sum += of_word;
            }
            *f++ = most;
            *f++ = (float)((double)sum / (double)(known_words > 1 ? known_words : 1));
            *f++ = has_column ? g->amount_ratio[rows->amount_bin * d + label] : NAN;
            *f++ = has_column ? g->weekday_ratio[rows->weekday * d + label] : NAN;
            *f++ = has_column ? g->channel_ratio[rows->channel * d + label] : NAN;
            *f++ = g->is_open[label] ? 1 : 0;
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

/* Trees of up to LEAVES leaves. Their splits are sorted by feature, then threshold.
 *
 * Each tree has a bit set of the leaves that can still be reached; the leftmost leaf is the lowest
 * bit. A split that is false removes the leaves on its left. So there are no branches to predict,
 * and the splits are read in order.
 *
 * Source: Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive
 * ensembles of regression trees", SIGIR 2015.
 */
typedef struct {
    int64_t trees, width;
    const int32_t *starts;      /* (width + 1): feature i has splits starts[i] to starts[i + 1] */
    const float *thresholds;    /* of each split: LightGBM's double, rounded down */
    const int32_t *tree;        /* of each split: the tree it belongs to */
    const uint32_t *reachable;  /* of each split: all leaves but those on its left */
    const uint8_t *nan_is_zero; /* (width); otherwise nan_is_left decides */
    const uint8_t *nan_is_left; /* of each split */
    const double *leaves;       /* (trees, LEAVES) */
} forest;
#define LEAVES 32
#define FEATURES_MAX 1024
#define ZERO 1e-35f /* kZeroThreshold: LightGBM reads what is not larger as 0 */

/* Apply the splits of a feature that are false for a value, or NaN, to all trees. */
static void apply(const forest *f, int64_t feature, float value, uint32_t *reach)
{
    const int32_t stop = f->starts[feature + 1];
    if (isnan(value) && !f->nan_is_zero[feature]) {
        for (int32_t at = f->starts[feature]; at < stop; at++)
            if (!f->nan_is_left[at])
                reach[f->tree[at]] &= f->reachable[at];
        return;
    }
    if (isnan(value) || fabsf(value) <= ZERO)
        value = 0;
    for (int32_t at = f->starts[feature]; at < stop && value > f->thresholds[at]; at++)
        reach[f->tree[at]] &= f->reachable[at];
}

/* The sum of the trees for each of n rows, in the order of the trees.
 *
 * Rows come in groups of *size, the candidates of one transaction. A feature that is equal in the
 * whole group is applied once. `reach` is scratch, 2 trees.
 */
void score_rows(const forest *f, int64_t n, const int64_t *size, const float *rows,
                uint32_t *reach, double *scores)
{
    const int64_t width = f->width, trees = f->trees;
    uint32_t *common = reach + trees;
    uint8_t differs[FEATURES_MAX];
    for (int64_t first = 0; first < n; first += *size) {
        const int64_t stop = first + *size < n ? first + *size : n;
        const float *group = rows + first * width;
        memset(common, 0xff, trees * sizeof *common);
        for (int64_t feature = 0; feature < width; feature++) {
            differs[feature] = 0;
            for (int64_t row = 1; row < stop - first; row++)
                differs[feature] |=
                    memcmp(group + row * width + feature, group + feature, sizeof(float)) != 0;
            if (!differs[feature])
                apply(f, feature, group[feature], common);
        }
        for (int64_t row = first; row < stop; row++) {
            memcpy(reach, common, trees * sizeof *reach);
            for (int64_t feature = 0; feature < width; feature++)
                if (differs[feature])
                    apply(f, feature, rows[row * width + feature], reach);
            double sum = 0;
            for (int64_t tree = 0; tree < trees; tree++)
                sum += f->leaves[tree * LEAVES + __builtin_ctz(reach[tree])];
            scores[row] = sum;
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

/* The columns of some hashes and of the character n-grams of a text; see shared/features/ngrams.py.
 *
 * `text` is UTF-32, little-endian; `out` has room for all. Columns are ascending; returns how many.
 */
int64_t ngram_columns(const uint32_t *hashes, int64_t count, const uint8_t *text, int64_t chars,
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
