/** Field names and values, alternating: name, value, name, value... Values are byte strings: one character (U+0000-U+00FF) a byte. */
export type FieldList = readonly string[];

/** What SETTINGS_MAX_HEADER_LIST_SIZE and the size of a table count for a field beside its name and its value (RFC 7541, 4.1). */
export const FIELD_OVERHEAD = 32;
