/** Header fields by their names in lower case; a list is a field that stands several times. */
export interface HeaderFields {
  [name: string]: string | string[] | number | undefined;
}

/** The same, as they came. */
export interface ReceivedFields {
  [name: string]: string | string[] | undefined;
}
