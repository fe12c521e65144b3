/** Who can do something about a job's end, as the detail and `explain` call them. */
export const submitter = "the submitter";
export const operator = "the operator of this worker";
export const site = "whoever runs the cluster";
export const nobody = "nobody; it may be submitted again";
